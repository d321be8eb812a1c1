"""From the text of an option to its value, and back.

What is wrong with a text is a ValueError. It shows the text, unless that is a
secret.
"""

import math
import re
import types
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from poolmgr.config.files import all_names
from poolmgr.settings.rules import IsSettings, Rule, problem, rules

_BOOLEANS = dict.fromkeys(("true", "1", "on", "yes"), True)
_BOOLEANS |= dict.fromkeys(("false", "0", "off", "no"), False)
#: Longest text of a number.
_LONGEST = 100
#: What looks like a comment behind a value, or in the place of one.
_COMMENT = re.compile(r"^[#;]\s|\s[#;]")
#: An IPv6 address in brackets, as the first of a list.
_IPV6 = re.compile(r"\[[0-9a-f.]*:[0-9a-f:.]*\]", re.IGNORECASE)


@dataclass(frozen=True)
class Option:
    """A field of a settings class, as an option.

    :ivar group: its group
    :ivar name: its name
    :ivar kind: the type of its values, if it is set
    :ivar default: what it is if nothing sets it
    :ivar rule: what else is known of it
    """

    group: str
    name: str
    kind: Any
    default: Any
    rule: Rule

    @property
    def names(self) -> list[tuple[str, str]]:
        """All its groups and names, the new ones first."""
        return all_names(self.group, self.name, self.rule)

    @property
    def shown(self) -> str:
        """The option as people write it."""
        return f"[{self.group}] {self.name}"


def options_of(group: str, settings: type[IsSettings]) -> list[Option]:
    """The options of a settings class."""
    types = get_type_hints(settings)
    return [
        Option(group, f.name, kind_of(types[f.name]), f.default, rule)
        for f, rule in rules(settings)
    ]


def require_plain(text: str, secret: bool) -> None:
    """Refuse control characters and what is not UTF-8.

    :param secret: whether the text may not be shown
    :raises ValueError: there are some
    """
    for character in text.replace("\n", ""):
        kind = unicodedata.category(character)
        if kind in ("Cc", "Cs"):
            what = "a control character" if kind == "Cc" else "no UTF-8"
            shown = character if secret else text
            raise ValueError(f"has {what} in it: {shown!r}")


def require_no_comment(text: str, secret: bool) -> None:
    """Refuse a value with a comment behind it.

    :param secret: whether the text may not be shown
    :raises ValueError: there is one
    """
    if _COMMENT.search(text):
        shown = "" if secret else f": {text!r}"
        raise ValueError(
            f"has a comment behind it{shown}; put that on a line of its own, "
            "or the value in quotes if it is a part of it"
        )


def value_of(text: str, option: Option) -> Any:
    """The value that a text stands for.

    :raises ValueError: it stands for none that the option can have
    """
    kind = option.kind
    value: object
    if get_origin(kind) is tuple:
        value = _list(text, option.rule.words)
    elif "\n" in text and text.strip():
        raise ValueError(
            "goes on in the next line; an option begins at the start of one"
        )
    else:
        value = text if kind is str else text.strip()
    if not text.strip() or value == ():
        if option.default not in (None, "", ()):
            raise ValueError("is empty; give it a value, or remove it")
        value = option.default
    elif kind is bool:
        value = _boolean(text.strip())
    elif kind in (int, float):
        value = _number(text.strip(), kind)
    if (wrong := problem(value, option.rule)) is not None:
        raise ValueError(wrong)
    return value


def kind_of(hint: Any) -> Any:
    """The type of a setting's values, if it is set."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = set(get_args(hint)) - {types.NoneType}
    return str if get_origin(hint) is Literal else hint


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(f"must be true or false, not {text!r}")
    return _BOOLEANS[text.lower()]


def _number(text: str, kind: type[int] | type[float]) -> float:
    try:
        number = kind(text) if len(text) <= _LONGEST else math.nan
    except ValueError:
        number = math.nan
    if not (text.isascii() and math.isfinite(number)):
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"must be {what}, not {text!r}")
    return number


def _list(text: str, words: bool) -> tuple[str, ...]:
    """The values of a list.

    :param words: whether blanks separate them, as commas and new lines do
    """
    items = re.split(r"[,\s]" if words else r"[,\n]", text)
    found = tuple(filter(None, map(str.strip, items)))
    text = text.strip()
    if text[:1] + text[-1:] in ("[]", "()", "{}") and not _IPV6.match(text):
        raise ValueError(
            f"must be values with commas between them, without brackets "
            f"around, not {text!r}"
        )
    if any(item[0] in "'\"" or item[-1] in "'\"" for item in found):
        raise ValueError(
            f"must be values without quotes around each, not {text!r}"
        )
    return found


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
    # Quotes around what would lose its own, or be taken for a comment.
    own = text[:1] == text[-1:] and text[:1] in ("'", '"')
    if text and (own or text != text.strip() or _COMMENT.search(text)):
        return f'"{text}"'
    return text
