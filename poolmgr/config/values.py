"""From the text of an option to its value.

What is wrong with a text is a ValueError; unless it is a secret's, that is
shown, too.
"""

import ipaddress
import math
import re
import types
import unicodedata
from typing import Any, Literal, Union, get_args, get_origin

from poolmgr.settings import Rule, problem

_TRUE = ("true", "1", "on", "yes")
_FALSE = ("false", "0", "off", "no")
#: Longest text of a number.
_LONGEST = 100
_BRACKETS = ("[]", "()", "{}")
#: What looks like a comment behind a value, or in the place of one.
COMMENT = re.compile(r"^[#;]\s|\s[#;]")


def require_plain(text: str, secret: bool) -> None:
    """Refuse what nobody means.

    :param secret: whether it may not be shown
    :raises ValueError: what is wrong with it
    """
    for character in text.replace("\n", ""):
        kind = unicodedata.category(character)
        if kind in ("Cc", "Cs"):
            what = (
                "a control character" if kind == "Cc" else "what is not UTF-8"
            )
            shown = character if secret else text
            raise ValueError(f"has {what} in it: {shown!r}")


def require_no_comment(text: str, secret: bool) -> None:
    """Refuse a value with a comment behind it.

    :param secret: whether it may not be shown
    :raises ValueError: there is one
    """
    if COMMENT.search(text):
        shown = "" if secret else f": {text!r}"
        raise ValueError(
            f"has a comment behind it{shown}; put that on a line of its own, "
            "or the value in quotes if it is a part of it"
        )


def value_of(text: str, hint: Any, default: Any, rule: Rule) -> Any:
    """The value that a text stands for.

    :param hint: the type of the setting
    :param default: what it is if nothing sets it
    :raises ValueError: it stands for none that the setting can have
    """
    kind = kind_of(hint)
    value: object
    if not text.strip():
        value = _empty(default)
    elif get_origin(kind) is tuple:
        value = _list(text, default, rule.words)
    elif "\n" in text:
        raise ValueError(
            "goes on in the next line; an option begins at the start of one"
        )
    elif kind is bool:
        value = _boolean(text.strip())
    elif kind in (int, float):
        value = _number(text.strip(), kind)
    else:
        value = text
    if (wrong := problem(value, rule)) is not None:
        raise ValueError(wrong)
    return value


def kind_of(hint: Any) -> Any:
    """The type of a setting's values, if it is set."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (
            kind for kind in get_args(hint) if kind is not types.NoneType
        )
    return str if get_origin(hint) is Literal else hint


def _empty(default: Any) -> Any:
    """What an empty text stands for: nothing, if that is the default."""
    if default is None or default in ("", ()):
        return default
    raise ValueError("is empty; give it a value, or remove it")


def _boolean(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(f"must be true or false, not {text!r}")
    return text.lower() in _TRUE


def _number(text: str, kind: type[int] | type[float]) -> float:
    what = "a whole number" if kind is int else "a number"
    try:
        if not text.isascii() or len(text) > _LONGEST:
            raise ValueError
        number = kind(text)
        if not math.isfinite(number):
            raise ValueError
    except ValueError:
        raise ValueError(f"must be {what}, not {text!r}") from None
    return number


def _list(text: str, default: Any, words: bool) -> tuple[str, ...]:
    """The values of a list.

    :param words: whether blanks separate them, as commas and new lines do
    """
    items = [
        item.strip()
        for item in re.split(r"[,\s]" if words else r"[,\n]", text)
    ]
    found = tuple(filter(None, items))
    if not found:
        return _empty(default)  # type: ignore[no-any-return]
    inside = text.strip()
    if inside[0] + inside[-1] in _BRACKETS and not _is_ipv6(found[0]):
        raise ValueError(
            f"must be values with commas between them, without brackets "
            f"around, not {text!r}"
        )
    for item in found:
        if item[0] in "'\"" or item[-1] in "'\"":
            raise ValueError(
                f"must be values without quotes around each, not {text!r}"
            )
    return found


def _is_ipv6(item: str) -> bool:
    try:
        ipaddress.IPv6Address(item[1:].partition("]")[0])
    except ValueError:
        return False
    return True


def as_text(value: object) -> str:
    """A value as a configuration file has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    # A "$" begins a reference to an option; one after a "\" is read as if
    # the two were one that does not.
    text = re.sub(r"\\\$|\$", lambda m: "$$" if m[0] == "$" else "\\\\$", text)
    return _quoted(text)


def _quoted(text: str) -> str:
    """Quotes around what would lose its own, or be taken for a comment."""
    own = text[:1] == text[-1:] and text[:1] in ("'", '"')
    if own or text != text.strip() or COMMENT.search(text):
        return f'"{text}"' if text else ""
    return text
