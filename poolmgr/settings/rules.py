"""What is known of a setting: its help, its bounds, and how it is checked.

A settings class is a frozen dataclass of :func:`setting` fields that calls
:func:`check` when it is made.
"""

import re
import types
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import (
    Any,
    ClassVar,
    Literal,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from poolmgr.errors import ConfigError

T = TypeVar("T")

#: The largest number; what waits for longer than that overflows somewhere.
_MOST = 1e9


@dataclass(frozen=True)
class Rule:
    """What is known of a setting besides its type and default.

    :ivar help: what it does, for a person
    :ivar min: the lowest value, of a number
    :ivar max: the highest value, of a number
    :ivar secret: whether it must never be shown
    :ivar check: raises ValueError or ConfigError when the value cannot be
        used
    :ivar mutable: whether it may change while the process runs
    :ivar words: whether blanks separate the values of a list, too
    """

    help: str
    min: float | None = None
    max: float | None = None
    secret: bool = False
    check: Callable[[Any], object] | None = None
    mutable: bool = False
    words: bool = False


def setting(default: T, help: str, **rule: Any) -> T:
    """A field of a settings class.

    Its type is one of bool, int, float, str, ``tuple[str, ...]`` and
    ``Literal``, or one of these and None.

    :param default: its default; a tuple of text for many values
    :param help: what it does
    :param rule: the rest of :class:`Rule`
    """
    made: T = field(default=default, metadata={"rule": Rule(help, **rule)})
    return made


class IsSettings(Protocol):
    """A settings class: a dataclass of :func:`setting` fields."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


@dataclass(frozen=True)
class Option:
    """A field of a settings class, as an option.

    :ivar group: its group
    :ivar name: its name
    :ivar kind: bool, int, float, str or tuple
    :ivar choices: all values it can have; empty for any
    :ivar default: what it is if nothing sets it
    :ivar rule: what else is known of it
    """

    group: str
    name: str
    kind: type
    choices: tuple[str, ...]
    default: Any
    rule: Rule

    @property
    def shown(self) -> str:
        """The option as people write it."""
        return f"[{self.group}] {self.name}"

    def problem(self, value: Any) -> str:
        """What is wrong with a value, as words after the option's name.

        :returns: empty if nothing is; of a secret no more than that it is
            wrong
        """
        try:
            if value is not None:
                self._require(value)
        except (ValueError, ConfigError) as error:
            secret = self.rule.secret
            return "is not what it has to be" if secret else str(error)
        return ""

    def _require(self, value: Any) -> None:
        rule = self.rule
        if self.choices and value not in self.choices:
            known = ", ".join(self.choices)
            raise ValueError(f"must be one of {known}, not {value!r}")
        # Put like this since nan is neither above nor below anything.
        if isinstance(value, (int, float)) and not abs(value) <= _MOST:
            raise ValueError(
                f"must be a number up to {_MOST:g}, not {value!r}"
            )
        if rule.min is not None and value < rule.min:
            raise ValueError(f"must be at least {rule.min:g}, not {value!r}")
        if rule.max is not None and value > rule.max:
            raise ValueError(f"must be at most {rule.max:g}, not {value!r}")
        if rule.check is not None:
            rule.check(value)


def options_of(group: str, settings: type[IsSettings]) -> list[Option]:
    """The options of a settings class."""
    hints, found = get_type_hints(settings), []
    for each in fields(settings):
        hint, choices = hints[each.name], ()
        if get_origin(hint) in (Union, types.UnionType):
            (hint,) = set(get_args(hint)) - {types.NoneType}
        if get_origin(hint) is Literal:
            hint, choices = str, get_args(hint)
        kind = get_origin(hint) or hint
        rule = each.metadata["rule"]
        option = Option(group, each.name, kind, choices, each.default, rule)
        found.append(option)
    return found


def check(settings: IsSettings, group: str) -> None:
    """Check every value; for ``__post_init__``.

    :param group: the group's name in the configuration, for the message
    :raises ConfigError: in one line, what is wrong with which setting
    """
    for option in options_of(group, type(settings)):
        if wrong := option.problem(getattr(settings, option.name)):
            raise ConfigError(f"{option.shown} {wrong}")


def like(pattern: str, meant: str) -> Callable[[str], None]:
    """Make a check for texts of a form.

    :param pattern: the form, as a regular expression
    :param meant: the form, in words
    """

    def check_form(text: str) -> None:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {meant}, not {text!r}")

    return check_form
