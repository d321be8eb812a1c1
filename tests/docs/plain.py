"""Normalization of output, to compare it with a page."""

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
    # Columns are as wide as their contents, and pages fold long lines.
    (r"-{2,}", "-"),
    (r"\s+", " "),
)

UUID = re.compile(_PATTERNS[0][0])


def plain(text: str) -> str:
    """Return a text as one line, with normalized ids, times and columns."""
    for pattern, name in _PATTERNS:
        text = re.sub(pattern, name, text)
    return text.strip()


def like(shown: str) -> str:
    """Return whether a text matches one in which "..." ends a word."""
    parts = re.split(r"[\w-]*\.\.\.", shown)
    return r"\S*".join(map(re.escape, parts))


def loose(text: str) -> str:
    """Return the same with all numbers normalized, for changing screens."""
    text = re.sub(r"\b(\d+[dhms] ?)+\b", "AGE ", plain(text))
    text = re.sub(r"[+-]?\d+(\.\d+)?", "N", text)
    return re.sub(" +", " ", text)
