"""Masks known secrets, in every spelling, in all text that is shown.

Messages from a cloud, a library or the system may repeat a password or token
that they were given.  Code that learns a secret registers it with
:func:`hide`, for the whole process.  :func:`masked` is applied to foreign text
where it enters poolmgr.

Everything that is written passes :func:`screened` as well. It leaves out
secrets that equal one of poolmgr's own words, such as the name of a cloud.
"""

import base64
import functools
import html
import json
import os
import re
import stat
from urllib.parse import quote, quote_plus

#: The replacement for a secret.
MASK = "***"
#: Shortest secret that is masked anywhere in a text, in characters.
SHORTEST = 8
#: Shortest secret that is masked at all: if it is a whole word.
_SHORTEST_WORD = 4
#: Number of tokens that are remembered; they are replaced regularly.
_TOKENS = 32

# The user and password of a URL are masked even if they are not known.
_USERINFO = re.compile(r"(?<=://)[^/\s?#]*@")
_URL_SAFE = str.maketrans("+/", "-_")


class Mask:
    """Replaces secrets in texts; any thread may use it."""

    def __init__(self) -> None:
        # Dictionaries as sets that keep their order. No lock is needed: each
        # is changed and copied in single steps.
        self._secrets: dict[str, None] = {}
        self._tokens: dict[str, None] = {}
        self._own_words: dict[str, None] = {}

    def hide(self, *secrets: object, is_token: bool = False) -> None:
        """Mask these secrets from now on.

        :param secrets: texts; other types and short texts are ignored
        :param is_token: whether they are tokens; old tokens are forgotten
        """
        group = self._tokens if is_token else self._secrets
        for secret in secrets:
            if isinstance(secret, str) and len(secret) >= _SHORTEST_WORD:
                group[secret] = None
        for oldest in [*self._tokens][:-_TOKENS]:
            self._tokens.pop(oldest, None)

    def show(self, *words: object) -> None:
        """Do not mask these words in poolmgr's own text.

        :param words: texts; other types are ignored
        """
        own = [word for word in words if isinstance(word, str)]
        self._own_words.update(dict.fromkeys(own))

    def masked(self, text: str) -> str:
        """Return foreign text with secrets and URLs' passwords masked."""
        secrets = (*self._secrets, *self._tokens)
        text = _replace(text, _spellings(secrets))
        for secret in secrets:
            # _spellings() leaves these out: they may be parts of words.
            if len(secret) < SHORTEST and secret in text:
                text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
        return text

    def screened(self, text: str) -> str:
        """Return text with secrets masked, except poolmgr's own words."""
        secrets, words = (*self._secrets, *self._tokens), (*self._own_words,)
        return _replace(text, _spellings(secrets, words))


# The mask of this process.
_mask = Mask()
hide, show = _mask.hide, _mask.show
masked, screened = _mask.masked, _mask.screened


def _replace(text: str, spellings: tuple[str, ...]) -> str:
    if "://" in text and "@" in text:
        text = _USERINFO.sub(f"{MASK}@", text)
    for spelling in spellings:
        text = text.replace(spelling, MASK)
    return text


# Each text asks for the spellings, which change only with the secrets.
@functools.lru_cache(maxsize=4)
def _spellings(
    secrets: tuple[str, ...], words: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return all spellings of secrets.

    The longest are first, because a spelling may contain a shorter one.

    :param words: a spelling that is part of one of these words is left out
    """
    found = {spelling for secret in secrets for spelling in _spell(secret)}
    found = {s for s in found if not any(s in word for word in words)}
    return tuple(sorted(found, key=len, reverse=True))


def _spell(secret: str) -> list[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    spellings = [
        secret,
        quote(raw, safe=""),
        quote(raw),
        quote_plus(raw),
        html.escape(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    ]
    for before in range(3):
        # In base64 the characters depend on the offset of the secret, modulo
        # 3 bytes. Those at both ends also depend on its neighbours.
        encoded = base64.b64encode(bytes(before) + raw).decode("ascii")
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        own = encoded[first:last]
        spellings += [own, own.translate(_URL_SAFE)]
    return [each for each in spellings if len(each) >= SHORTEST]


def exposure(path: str, what: str) -> str | None:
    """Return a warning if all users can access a file with a secret.

    Its group may: services commonly have ``root:poolmgr 0640``.

    :param path: the file
    :param what: the option that the secret is for
    :returns: None if only the owner and the group have access
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return None  # reading the file will fail with the reason
    if not (stat.S_ISREG(mode) and mode & (stat.S_IROTH | stat.S_IWOTH)):
        return None
    return (
        f"{path} has a secret ({what}) and can be read by everybody: chmod "
        f"600 {path} (640 if a group is to read it)"
    )
