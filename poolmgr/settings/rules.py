"""What is known of a setting: its help, its bounds, and how it is checked.

A settings class is a frozen dataclass of :func:`setting` fields that calls
:func:`check` when it is made.
"""

import re
import types
import typing
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Protocol, TypeVar

from poolmgr.errors import ConfigError

T = TypeVar("T")

#: The largest number; what waits for longer than that overflows somewhere.
_MOST = 1e9


class IsSettings(Protocol):
    """A settings class: a dataclass of :func:`setting` fields."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def setting(default: T, help: str, **more: Any) -> T:
    """A field of a settings class.

    Its type is one of bool, int, float, str, ``tuple[str, ...]`` and
    ``Literal``, or one of these and None.

    :param default: its default; a tuple of text for many values
    :param help: what it does, for a person
    :param more: ``min`` to ``words`` of an :class:`Option`
    """
    made: T = field(default=default, metadata={"help": help, **more})
    return made


@dataclass(frozen=True)
class Option:
    """A field of a settings class, as an option.

    :ivar group: its group
    :ivar name: its name
    :ivar kind: bool, int, float, str or tuple
    :ivar choices: all values it can have; empty for any
    :ivar default: what it is if nothing sets it
    :ivar help: what it does, for a person
    :ivar min: the lowest value, of a number
    :ivar max: the highest value, of a number
    :ivar secret: whether it must never be shown
    :ivar check: raises ValueError or ConfigError when the value cannot be
        used
    :ivar mutable: whether it may change while the process runs
    :ivar words: whether blanks separate the values of a list, too
    """

    group: str
    name: str
    kind: type
    choices: tuple[str, ...]
    default: Any
    help: str
    min: float | None = None
    max: float | None = None
    secret: bool = False
    check: Callable[[Any], object] | None = None
    mutable: bool = False
    words: bool = False

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
            return "is not what it has to be" if self.secret else str(error)
        return ""

    def _require(self, value: Any) -> None:
        if self.choices and value not in self.choices:
            known = ", ".join(self.choices)
            raise ValueError(f"must be one of {known}, not {value!r}")
        # Put like this since nan is neither above nor below anything.
        if isinstance(value, (int, float)) and not abs(value) <= _MOST:
            raise ValueError(f"must be up to {_MOST:g}, not {value!r}")
        if self.min is not None and value < self.min:
            raise ValueError(f"must be at least {self.min:g}, not {value!r}")
        if self.max is not None and value > self.max:
            raise ValueError(f"must be at most {self.max:g}, not {value!r}")
        if self.check is not None:
            self.check(value)


def options_of(group: str, settings: type[IsSettings]) -> list[Option]:
    """The options of a settings class."""
    hints, found = typing.get_type_hints(settings), []
    for each in fields(settings):
        hint, choices = hints[each.name], ()
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            (hint,) = set(typing.get_args(hint)) - {types.NoneType}
        if typing.get_origin(hint) is typing.Literal:
            hint, choices = str, typing.get_args(hint)
        kind, name = typing.get_origin(hint) or hint, each.name
        found.append(
            Option(group, name, kind, choices, each.default, **each.metadata)
        )
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
