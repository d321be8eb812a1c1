"""Text from elsewhere, made fit for a log or a terminal."""

from poolmgr.secrecy import longest as longest_secret
from poolmgr.secrecy import screened

#: Longest piece of foreign text shown, in characters.
LONGEST = 1000


def one_line(text: str | bytes, longest: int = LONGEST) -> str:
    """The text with everything unprintable escaped, cut when very long.

    New lines would forge log lines, escape sequences would reach the
    reader's terminal. Secrets that are known are masked.

    :param longest: characters after which it is cut
    """
    # Masked before it is cut: half a secret is one, too.
    ample = longest + longest_secret()
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


def _printable(text: str, besides: str = "") -> str:
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in besides else _escaped(c) for c in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
