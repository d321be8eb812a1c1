"""Text: foreign text made safe for logs and terminals, and durations."""

import re

from poolmgr.text.secrecy import screened

#: Longest foreign text that is shown, in characters.
LONGEST = 1000
#: Longest spelling of a secret: Keystone's longest tokens have 8 KiB.
_LONGEST_SECRET = 32768

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_PART = re.compile(r"([0-9]{1,12})([smhd])")


def one_line(text: str | bytes, longest: int = LONGEST) -> str:
    """Return a text with known secrets masked and control characters escaped.

    Line feeds could forge log lines, and escape sequences could control the
    reader's terminal.

    :param longest: a longer text is cut after this many characters
    """
    # Mask before cutting: half a secret would not be recognized.
    ample = longest + _LONGEST_SECRET
    if isinstance(text, bytes):
        # UTF-8 has up to four bytes a character.
        text = decoded(text[: 4 * ample + 4])
    is_complete = len(text) <= ample
    text = screened(text[:ample])
    shown = _escape(text[:longest])
    return shown if is_complete and len(text) <= longest else f"{shown}..."


def lines(text: str) -> str:
    """Return a text of several lines, masked and escaped like one_line()."""
    escaped = [_escape(line, "\t") for line in screened(text).split("\n")]
    return "\n".join(escaped)


def decoded(data: bytes) -> str:
    """Decode UTF-8; write each invalid byte as ``\\xNN``."""
    return data.decode("utf-8", "backslashreplace")


def message_of(error: object) -> str:
    """Return an object's text, or the name of its type if str() fails."""
    try:
        # join() turns an instance of a subclass of str into a plain one.
        return str.join("", [str(error)])
    except BaseException:
        return type(error).__name__


def describe(error: BaseException) -> str:
    """Return an exception's type and text on one line."""
    kind, words = type(error).__name__, message_of(error)
    return one_line(f"{kind}: {words}" if words not in ("", kind) else kind)


def _escape(text: str, allowed: str = "") -> str:
    if text.isprintable():
        return text
    return "".join(
        c
        if c.isprintable() or c in allowed
        else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


def parse_duration(text: str) -> int:
    """Return the seconds of a duration: ``90``, ``10m``, ``2h``, ``1d 12h``.

    :raises ValueError: the text is not a duration
    """
    packed = "".join(text.split())
    if packed.isascii() and packed.isdecimal() and len(packed) <= 12:
        return int(packed)
    if not re.fullmatch(f"({_PART.pattern})+", packed):
        raise ValueError(
            "must be a length of time like 90 (seconds), 10m, 2h or 3d, "
            f"not {text[:100]!r}"
        )
    return sum(int(n) * _UNITS[unit] for n, unit in _PART.findall(packed))


def format_duration(seconds: int) -> str:
    """Return the two largest units: ``45s``, ``3m 12s``, ``5d 2h``."""
    rest, parts = seconds, []
    for unit, size in _UNITS.items():
        number, rest = divmod(rest, size)
        parts.append(f"{number}{unit}")
    while len(parts) > 1 and parts[0].startswith("0"):
        del parts[0]
    return " ".join(p for p in parts[:2] if not p.startswith("0")) or "0s"
