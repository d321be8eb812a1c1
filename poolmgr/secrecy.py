"""Secrets that are known are shown nowhere, in no spelling.

What a cloud, a library or a system says is repeated in logs, in answers and on
terminals, and it may have in it what it was given: a password, a token.  Who
knows a secret hides it here, for the whole process; :func:`masked` is applied
to all foreign text (see :mod:`poolmgr.text`).
"""

import base64
import html
import json
import os
import re
import threading
from urllib.parse import quote, quote_plus

#: What is shown instead of a secret.
MASK = "***"
#: Shortest secret that is looked for, in characters: a shorter one cannot be
#: told from an ordinary word.
SHORTEST = 8
#: Secrets that are kept; tokens come and go.
_MOST = 32

# A user and a password in an address, whether they are known or not.
_USERINFO = re.compile(r"(?<=://)[^/\s?#]*@")

_lock = threading.Lock()
# The child of a fork has no thread that would release it.
os.register_at_fork(
    before=_lock.acquire,
    after_in_parent=_lock.release,
    after_in_child=_lock.release,
)
_hidden: dict[str, tuple[str, ...]] = {}
_spellings: tuple[str, ...] = ()


def hide(*secrets: object) -> None:
    """Never show these from now on.

    :param secrets: texts; what is None, no text or too short is left out
    """
    global _spellings
    with _lock:
        for secret in secrets:
            if isinstance(secret, str) and len(secret) >= SHORTEST:
                _hidden.pop(secret, None)  # the newest is the last
                _hidden[secret] = _spelled(secret)
        while len(_hidden) > _MOST:
            del _hidden[next(iter(_hidden))]
        # The longest first: others may be parts of it.
        every = {each for found in _hidden.values() for each in found}
        _spellings = tuple(sorted(every, key=len, reverse=True))


def masked(text: str) -> str:
    """The text without what is hidden, and without passwords in addresses."""
    if "://" in text and "@" in text:
        text = _USERINFO.sub(f"{MASK}@", text)
    for spelling in _spellings:
        if spelling in text:
            text = text.replace(spelling, MASK)
    return text


def longest() -> int:
    """Characters of the longest spelling of a secret."""
    return len(_spellings[0]) if _spellings else 0


def _spelled(secret: str) -> tuple[str, ...]:
    """How a secret may be written."""
    raw = secret.encode("utf-8", "surrogatepass")
    written = {
        secret,
        quote(raw, safe=""),
        quote(raw),
        quote_plus(raw),
        html.escape(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    }
    for before in range(3):
        encoded = _in_base64(raw, before)
        written |= {encoded, encoded.translate(_URL_SAFE)}
    return tuple(each for each in written if len(each) >= SHORTEST)


_URL_SAFE = str.maketrans("+/", "-_")


def _in_base64(raw: bytes, before: int) -> str:
    """What of a base64 text is the secret's alone.

    :param before: bytes before it, modulo 3
    """
    encoded = base64.b64encode(bytes(before) + raw).decode("ascii")
    first = -(-before * 8 // 6)
    last = (before + len(raw)) * 8 // 6
    return encoded[first:last]
