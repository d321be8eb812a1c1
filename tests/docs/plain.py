"""What is shown beside what is printed, without what differs each time."""

import re

_PATTERNS = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r"\b[0-9a-f]{32}\b", "UUID"),
    (r"\b[0-9a-f]{24}\b", "HASH"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d([.,]\d{3})?(Z|\+00:00)?", "TIME"),
    (r"\bH:[\w.-]+:\d+", "HANDLE"),
    (r"\b10\.(20|1\.2)\.[\d.]+\b", "ADDRESS"),
    (r"\b127\.0\.0\.1:\d+", "PLACE"),
    (r"\b127\.0\.0\.1(?= )", "ADDRESS"),
    (r"\b\d+(\.\d+)? (s|ms)\b", "A WHILE"),
    (r"\b(\d+[dhm] )*\d+s\b", "AGE"),
    (r'"Age": \d+', '"Age": N'),
    (r"/tmp/loopback-\w+", "/tmp/loopback-NEW"),
    # Columns are as wide as what is in them.
    (r"-{2,}", "-"),
    (r"[ \t]+", " "),
)

UUID = re.compile(_PATTERNS[0][0])


def plain(text: str) -> str:
    """A text with ids, times and widths of columns made alike."""
    for pattern, name in _PATTERNS:
        text = re.sub(pattern, name, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())


def folded(text: str) -> str:
    """Likewise, as one line: pages fold what is too long for them."""
    return " ".join(plain(text).split())


def like(shown: str) -> str:
    """Of what may be printed: "..." after a part of a word stands for the
    rest of it."""
    parts = re.split(r"[\w-]*\.\.\.", shown)
    return r"\S*".join(map(re.escape, parts))


def loose(text: str) -> str:
    """Likewise, what a screen shows that counts: all numbers alike."""
    text = plain(text)
    text = re.sub(r"\b(\d+[dhms] ?)+\b", "AGE ", text)
    text = re.sub(r"[+-]?\d+(\.\d+)?", "N", text)
    return re.sub(" +", " ", text)
