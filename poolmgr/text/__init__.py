"""Text: that of others made fit for a log or a terminal, lengths of time."""

import re

from poolmgr.text.secrecy import screened

#: Longest piece of foreign text shown, in characters.
LONGEST = 1000
#: Longest secret in any spelling: Keystone's longest tokens have 8 KiB.
_LONGEST_SECRET = 32768

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_PART = re.compile(r"([0-9]{1,12})([smhd])")


def one_line(text: str | bytes, longest: int = LONGEST) -> str:
    """The text with everything unprintable escaped, cut when very long.

    New lines would forge log lines, escape sequences would reach the
    reader's terminal. Secrets that are known are masked.

    :param longest: characters after which it is cut
    """
    # Masked before it is cut: half a secret is one, too.
    ample = longest + _LONGEST_SECRET
    if isinstance(text, bytes):
        text = decoded(text[: 4 * ample + 4])
    whole = len(text) <= ample
    text = screened(text[:ample])
    shown = _printable(text[:longest])
    return shown if whole and len(text) <= longest else f"{shown}..."


def lines(text: str) -> str:
    """The text of several lines, each made harmless, none cut.

    Every other character that would end a line is escaped.
    """
    found = screened(text).split("\n")
    return "\n".join(_printable(line, "\t") for line in found)


def decoded(data: bytes) -> str:
    """The text of any bytes; what is not UTF-8 is shown as ``\\xNN``."""
    return data.decode("utf-8", "backslashreplace")


def words_of(error: object) -> str:
    """The text of any object; the name of its type if it has none."""
    try:
        # Joined, so that a subclass of str becomes plain text.
        return str.join("", [str(error)])
    except BaseException:
        return type(error).__name__


def told(error: BaseException) -> str:
    """An exception in one line: its type and its text."""
    kind, words = type(error).__name__, words_of(error)
    return one_line(f"{kind}: {words}" if words not in ("", kind) else kind)


def _printable(text: str, besides: str = "") -> str:
    if text.isprintable():
        return text
    return "".join(
        c
        if c.isprintable() or c in besides
        else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


def parse_duration(text: str) -> int:
    """Seconds of a text like ``90``, ``10m``, ``2h`` or ``1d 12h``.

    :raises ValueError: it is no such text
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
    """The two largest units of a length: ``45s``, ``3m 12s``, ``5d 2h``."""
    left, parts = seconds, []
    for unit, size in _UNITS.items():
        number, left = divmod(left, size)
        parts.append(f"{number}{unit}")
    while len(parts) > 1 and parts[0].startswith("0"):
        del parts[0]
    return " ".join(p for p in parts[:2] if not p.startswith("0")) or "0s"
