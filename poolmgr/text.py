"""Text from elsewhere, made fit for a log or a terminal."""

#: Longest piece of foreign text shown, in characters.
LONGEST = 1000


def one_line(text: str | bytes, longest: int = LONGEST) -> str:
    """The text with everything unprintable escaped, cut when very long.

    New lines would forge log lines, escape sequences would reach the
    reader's terminal.

    :param longest: characters after which it is cut
    """
    if isinstance(text, bytes):
        text = decoded(text[: 4 * longest + 4])
    shown = text[:longest]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else _escaped(c) for c in shown)
    return shown if len(text) <= longest else f"{shown}..."


def decoded(data: bytes) -> str:
    """The text of any bytes; what is not UTF-8 is shown as ``\\xNN``."""
    return data.decode("utf-8", "backslashreplace")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
