"""Rules of settings: help, bounds, and how values are checked.

A settings class is a frozen dataclass of :func:`setting` fields whose
``__post_init__`` calls :func:`check`.
"""

import re
import types
import typing
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Protocol, TypeVar

from poolmgr.errors import ConfigError

T = TypeVar("T")

#: The largest absolute value of a number. Longer timeouts overflow in some
#: system calls.
_LARGEST = 1e9


class IsSettings(Protocol):
    """A settings class: a dataclass of :func:`setting` fields."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def setting(default: T, help: str, **more: Any) -> T:
    """Declare a field of a settings class.

    Its type is bool, int, float, str, ``tuple[str, ...]`` or ``Literal``, or
    one of these and None.

    :param default: the default; for a list, a tuple of strings
    :param help: a description for operators
    :param more: ``min``, ``max``, ``secret``, ``check``, ``mutable`` and
        ``words`` of :class:`Option`
    """
    made: T = field(default=default, metadata={"help": help, **more})
    return made


@dataclass(frozen=True)
class Option:
    """A field of a settings class, as an option of the configuration.

    :ivar group: name of its group
    :ivar name: its name
    :ivar kind: bool, int, float, str or tuple
    :ivar choices: the allowed values; empty if any value is allowed
    :ivar default: the value if nothing sets the option
    :ivar help: a description for operators
    :ivar min: the lowest number allowed
    :ivar max: the highest number allowed
    :ivar secret: whether the value must never be shown
    :ivar check: a function that raises ValueError or ConfigError for an
        invalid value
    :ivar mutable: whether a reload may change the value
    :ivar words: whether blanks, too, separate the values of a list
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
        """Group and name, as ``[group] name``."""
        return f"[{self.group}] {self.name}"

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value, to follow the option's name.

        :returns: a text without the value if the option is a secret; empty
            if the value is valid
        """
        if value is None:
            return ""
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}, not {value!r}"
        # Negated, because every comparison with NaN is false.
        if isinstance(value, (int, float)) and not abs(value) <= _LARGEST:
            return f"must be up to {_LARGEST:g}, not {value!r}"
        if self.min is not None and value < self.min:
            return f"must be at least {self.min:g}, not {value!r}"
        if self.max is not None and value > self.max:
            return f"must be at most {self.max:g}, not {value!r}"
        try:
            if self.check is not None:
                self.check(value)
        except (ValueError, ConfigError) as error:
            return "is not valid" if self.secret else str(error)
        return ""


def options_of(group: str, settings: type[IsSettings]) -> list[Option]:
    """Return the options of a settings class."""
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
    """Check all values; to be called by ``__post_init__``.

    :param group: name of the group in the configuration, for the message
    :raises ConfigError: a value is invalid
    """
    for option in options_of(group, type(settings)):
        if problem := option.problem(getattr(settings, option.name)):
            raise ConfigError(f"{option.shown} {problem}")


def like(pattern: str, description: str) -> Callable[[str], None]:
    """Return a ``check`` for strings that must match a pattern.

    :param pattern: a regular expression
    :param description: what must match it, for the message
    """

    def check_pattern(text: str) -> None:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {description}, not {text!r}")

    return check_pattern
