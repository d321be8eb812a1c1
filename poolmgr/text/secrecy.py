"""Secrets that are known are shown nowhere, in no spelling.

What a cloud, a library or a system says is repeated in logs, in answers and on
terminals, and it may have in it what it was given: a password, a token.  Who
knows a secret hides it here, for the whole process; :func:`masked` is applied
to all foreign text where it comes in.

All that is written is masked once more, by :func:`screened`, for what came in
elsewhere; but not what may be a word of our own, as the name of a cloud.
"""

import base64
import functools
import html
import json
import os
import re
import stat
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
_URL_SAFE = str.maketrans("+/", "-_")


class Mask:
    """Replaces the secrets that it was told of.

    Any thread may use it, without a lock: a secret is one entry of a
    dictionary, and a dictionary is copied in one step.
    """

    def __init__(self) -> None:
        self._kept: dict[str, None] = {}
        self._passing: dict[str, None] = {}
        self._own_words: dict[str, None] = {}

    def hide(self, *secrets: object, passing: bool = False) -> None:
        """Never show these from now on.

        :param secrets: texts; what is None, no text or too short is left out
        :param passing: whether they are tokens, of which the oldest are
            forgotten
        """
        group = self._passing if passing else self._kept
        for secret in secrets:
            if isinstance(secret, str) and len(secret) >= _SHORTEST_WORD:
                group[secret] = None
        for oldest in [*self._passing][:-_MOST]:
            self._passing.pop(oldest, None)

    def show(self, *words: object) -> None:
        """These are words of our own, whatever secret is the same.

        :param words: texts; what is none is left out
        """
        own = [word for word in words if isinstance(word, str)]
        self._own_words.update(dict.fromkeys(own))

    def masked(self, text: str) -> str:
        """Foreign text without what is hidden, and without passwords in
        addresses."""
        secrets = (*self._kept, *self._passing)
        text = _without(text, _spellings(secrets))
        for secret in secrets:
            if len(secret) < SHORTEST and secret in text:
                text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
        return text

    def screened(self, text: str) -> str:
        """The text without what is hidden and no word of our own."""
        secrets, words = (*self._kept, *self._passing), (*self._own_words,)
        return _without(text, _spellings(secrets, words))


# That of the process.
_mask = Mask()
hide, show = _mask.hide, _mask.show
masked, screened = _mask.masked, _mask.screened


def _without(text: str, spellings: tuple[str, ...]) -> str:
    if "://" in text and "@" in text:
        text = _USERINFO.sub(f"{MASK}@", text)
    for spelling in spellings:
        if spelling in text:
            text = text.replace(spelling, MASK)
    return text


@functools.lru_cache(maxsize=4)
def _spellings(
    secrets: tuple[str, ...], words: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """How secrets may be written, the longest first: others may be parts of
    it.

    :param words: what is in one of these is left out
    """
    every = {spelt for secret in secrets for spelt in _spelled(secret)}
    every = {s for s in every if not any(s in word for word in words)}
    return tuple(sorted(every, key=len, reverse=True))


@functools.lru_cache(maxsize=2 * _MOST)
def _spelled(secret: str) -> set[str]:
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
        # Of a base64 text what is the secret's alone, after 0 to 2 bytes.
        encoded = base64.b64encode(bytes(before) + raw).decode("ascii")
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        alone = encoded[first:last]
        written |= {alone, alone.translate(_URL_SAFE)}
    return {each for each in written if len(each) >= SHORTEST}


def exposure(path: str, what: str) -> str | None:
    """Say that everybody can read a file with a secret.

    A group may: ``root:poolmgr 0640`` is how services have their secrets.

    :param path: the file
    :param what: the secret in it, by the name of its option
    :returns: None if people who own neither the file nor its group cannot
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return None  # whoever needs it will say so
    if not (stat.S_ISREG(mode) and mode & (stat.S_IROTH | stat.S_IWOTH)):
        return None
    return (
        f"{path} has a secret ({what}) and can be read by everybody: chmod "
        f"600 {path} (640 if a group is to read it)"
    )
