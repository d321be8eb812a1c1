"""From the text of an option to its value, and back.

What is wrong with a text is a ValueError. It shows the text, unless that is a
secret.
"""

import re
import string
import types
from configparser import RawConfigParser
from dataclasses import dataclass, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from poolmgr.config.files import COMMENT, Key
from poolmgr.settings.rules import IsSettings, Rule, problem

#: A value of a list that is written as in other languages.
_FOREIGN = re.compile(r"""[\[({]*["'].*|.*["'][\])}]*|[\[({][^:]*""", re.S)


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
    def names(self) -> list[Key]:
        """All its groups and names, the new ones first."""
        found = [(self.group, self.name)]
        for where in self.rule.old:
            group, _, name = where.partition(".")
            found.append((group, name))
            if group == "mgm":
                # Libra's first releases took all options there, too.
                found.append(("global", name))
        return found

    @property
    def shown(self) -> str:
        """The option as people write it."""
        return f"[{self.group}] {self.name}"


def options_of(group: str, settings: type[IsSettings]) -> list[Option]:
    """The options of a settings class."""
    hints = get_type_hints(settings)
    return [
        Option(
            group,
            each.name,
            _kind_of(hints[each.name]),
            each.default,
            each.metadata["rule"],
        )
        for each in fields(settings)
    ]


def _kind_of(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = set(get_args(hint)) - {types.NoneType}
    return str if get_origin(hint) is Literal else hint


def value_of(text: str, option: Option) -> Any:
    """The value that a text stands for.

    :raises ValueError: it stands for none that the option can have
    """
    value: object = text.strip()
    if get_origin(option.kind) is tuple:
        value = _list(text, option.rule.words)
    elif "\n" in text and value:
        raise ValueError(
            "goes on in the next line; an option begins at the start of one"
        )
    if not value:
        if option.default not in (None, "", ()):
            raise ValueError("is empty; give it a value, or remove it")
        return option.default
    if option.kind is str:
        value = text
    elif option.kind is bool:
        value = _boolean(text.strip())
    elif option.kind in (int, float):
        value = _number(text.strip(), option.kind)
    if (wrong := problem(value, option.rule)) is not None:
        raise ValueError(wrong)
    return value


def _boolean(text: str) -> bool:
    value = RawConfigParser.BOOLEAN_STATES.get(text.lower())
    if value is None:
        raise ValueError(f"must be true or false, not {text!r}")
    return value


def _number(text: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"must be {what}, not {text!r}") from None


def _list(text: str, words: bool) -> tuple[str, ...]:
    """The values of a list.

    :param words: whether blanks separate them, as commas and new lines do
    """
    items = re.split(r"[,\s]" if words else r"[,\n]", text)
    found = tuple(filter(None, map(str.strip, items)))
    if any(map(_FOREIGN.fullmatch, found)):
        raise ValueError(
            "must be values with commas between them, without quotes and "
            f"brackets around, not {text!r}"
        )
    return found


class Template(string.Template):
    """A text that names options as oslo.config has it: ``$name`` or
    ``${group.name}``; ``$$`` stands for a ``$``."""

    idpattern = r"[_a-z][\._a-z0-9]*"


def as_text(value: object) -> str:
    """A value as a configuration file has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    text = text.replace("$", "$$")
    # Quotes around what would lose its own, or be taken for a comment.
    own = text[:1] == text[-1:] and text[:1] in ("'", '"')
    if text and (own or text != text.strip() or COMMENT.search(text)):
        return f'"{text}"'
    return text
