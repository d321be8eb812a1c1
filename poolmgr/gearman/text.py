"""Strings from the network, made fit for a log line."""


def decoded(data: bytes) -> str:
    """Text of any bytes; what is not UTF-8 is shown as ``\\xNN``."""
    return data.decode("utf-8", "backslashreplace")


def printable(text: str | bytes, limit: int = 200) -> str:
    """The text on one line, without control characters.

    :param limit: characters after which it is cut off
    """
    if isinstance(text, bytes):
        text = decoded(text[: 4 * limit])
    cut = text[:limit]
    if not cut.isprintable():
        cut = "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode()
            for c in cut
        )
    return cut if len(text) <= limit else f"{cut}..."
