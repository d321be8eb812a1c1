"""Secrets that are known are shown nowhere, in no spelling.

What a cloud, a library or a system says is repeated in logs, in answers and on
terminals, and it may have in it what it was given: a password, a token.  Who
knows a secret hides it here, for the whole process; :func:`masked` is applied
to all foreign text where it comes in.

All that is written is masked once more, by :func:`screened`, for what came in
elsewhere; but not what may be a word of our own, as the name of a cloud.
"""

import base64
import html
import json
import os
import re
import stat
import threading
from urllib.parse import quote, quote_plus

#: What is shown instead of a secret.
MASK = "***"
#: Shortest secret that is looked for within words, in characters.
SHORTEST = 8
#: Shortest secret that is looked for at all: as a whole word of foreign text.
_SHORTEST_WORD = 4
#: Tokens that are kept; they come and go.
_MOST = 32

# A user and a password in an address, whether they are known or not.
_USERINFO = re.compile(r"(?<=://)[^/\s?#]*@")

_lock = threading.Lock()
_kept: dict[str, tuple[str, ...]] = {}
_passing: dict[str, tuple[str, ...]] = {}
_own_words: set[str] = set()
# What to look for in foreign text, and in all text.
_spellings: tuple[str, ...] = ()
_unlike_words: tuple[str, ...] = ()
_short: re.Pattern[str] | None = None


def hide(*secrets: object, passing: bool = False) -> None:
    """Never show these from now on.

    :param secrets: texts; what is None, no text or too short is left out
    :param passing: whether they are tokens, of which the oldest are forgotten
    """
    with _lock:
        group = _passing if passing else _kept
        for secret in secrets:
            if isinstance(secret, str) and len(secret) >= _SHORTEST_WORD:
                group.pop(secret, None)  # the newest is the last
                group[secret] = _spelled(secret)
        while len(_passing) > _MOST:
            del _passing[next(iter(_passing))]
        _prepare()


def show(*words: object) -> None:
    """These are words of our own, whatever secret is the same.

    :param words: texts; what is none is left out
    """
    new = {word for word in words if isinstance(word, str)} - _own_words
    if new:
        with _lock:
            _own_words.update(new)
            _prepare()


def masked(text: str) -> str:
    """Foreign text without what is hidden, and without passwords in
    addresses."""
    text = _without(text, _spellings)
    return text if _short is None else _short.sub(MASK, text)


def screened(text: str) -> str:
    """The text without what is hidden and no word of our own."""
    return _without(text, _unlike_words)


def _without(text: str, spellings: tuple[str, ...]) -> str:
    if "://" in text and "@" in text:
        text = _USERINFO.sub(f"{MASK}@", text)
    for spelling in spellings:
        if spelling in text:
            text = text.replace(spelling, MASK)
    return text


def _prepare() -> None:
    """Bring what is looked for up to date."""
    global _spellings, _unlike_words, _short
    hidden = {**_kept, **_passing}
    # The longest first: others may be parts of it.
    every = {each for found in hidden.values() for each in found}
    _spellings = tuple(sorted(every, key=len, reverse=True))
    _unlike_words = tuple(
        each
        for each in _spellings
        if not any(each in word for word in _own_words)
    )
    short = [re.escape(each) for each in hidden if len(each) < SHORTEST]
    _short = None
    if short:
        _short = re.compile(rf"(?<!\w)(?:{'|'.join(short)})(?!\w)")


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


def is_exposed(path: str) -> bool:
    """Whether people who own neither the file nor its group can use it.

    A group may: ``root:poolmgr 0640`` is how services have their secrets.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False  # whoever needs it will say so
    return stat.S_ISREG(mode) and bool(mode & (stat.S_IROTH | stat.S_IWOTH))


def exposure(path: str, what: str) -> str:
    """Say that everybody can read a file with a secret.

    :param path: the file, fit to be shown
    :param what: the secret in it, by the name of its option
    """
    return (
        f"{path} has a secret ({what}) and can be read by everybody: chmod "
        f"600 {path} (640 if a group is to read it)"
    )
