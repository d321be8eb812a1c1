"""Text for logs and terminals, and the masking of secrets."""

from poolmgr.text import lines, one_line, secrecy

SEEDS = [
    "plain ünï \u202e\x1b[2J\n\x85".encode(),
    b"http://user:pass@host/path?query",
    b"hunter2-hunter2 aHVudGVyMi1odW50ZXIy",
    b"\xff\xfe\xed\xa0\x80",
]
_SECRET = "hunter2-hunter2"


def one(data: bytes) -> None:
    """The data is the text, as bytes and as text."""
    secrecy.hide(_SECRET)
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    for longest in (5, 50, 5000):
        for shown in (one_line(data, longest), one_line(text, longest)):
            assert shown.isprintable()
            assert "hunter2-hunter2" not in shown
            assert len(shown) <= 10 * longest + 3
    for line in lines(text).split("\n"):
        assert line.replace("\t", "").isprintable()
    assert _SECRET not in secrecy.masked(text)
