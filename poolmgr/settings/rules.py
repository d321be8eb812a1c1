"""What is known of a setting: its help, its bounds, and how it is checked.

A settings class is a frozen dataclass of :func:`setting` fields that calls
:func:`check` when it is made.
"""

import re
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Protocol, TypeVar

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
    :ivar choices: all values it can have
    :ivar secret: whether it must never be shown
    :ivar check: raises ValueError or ConfigError when the value cannot be
        used
    :ivar old: "group.name" of options it had in Libra
    :ivar mutable: whether it may change while the process runs
    :ivar words: whether blanks separate the values of a list, too
    """

    help: str
    min: float | None = None
    max: float | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False
    check: Callable[[Any], object] | None = None
    old: tuple[str, ...] = ()
    mutable: bool = False
    words: bool = False


def setting(default: T, help: str, **rule: Any) -> T:
    """A field of a settings class.

    :param default: its default; a list or tuple of text for many values
    :param help: what it does
    :param rule: the rest of :class:`Rule`
    """
    made: T = field(default=default, metadata={"rule": Rule(help, **rule)})
    return made


class IsSettings(Protocol):
    """A settings class: a dataclass of :func:`setting` fields."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def check(settings: IsSettings, group: str) -> None:
    """Hold every value against its rule; for ``__post_init__``.

    :param group: the group's name in the configuration, for the message
    :raises ConfigError: in one line, what is wrong with which setting
    """
    for each in fields(settings):
        value = getattr(settings, each.name)
        if wrong := problem(value, each.metadata["rule"]):
            raise ConfigError(f"[{group}] {each.name} {wrong}")


def problem(value: Any, rule: Rule) -> str | None:
    """What is wrong with a value, as words after the setting's name.

    :returns: None if nothing is; of a secret no more than that it is wrong
    """
    try:
        if value is not None:
            _require(value, rule)
    except (ValueError, ConfigError) as error:
        return "is not what it has to be" if rule.secret else str(error)
    return None


def _require(value: Any, rule: Rule) -> None:
    if rule.choices and value not in rule.choices:
        raise ValueError(
            f"must be one of {', '.join(rule.choices)}, not {value!r}"
        )
    # Put like this since nan is neither above nor below anything.
    if isinstance(value, (int, float)) and not abs(value) <= _MOST:
        raise ValueError(f"must be a number up to {_MOST:g}, not {value!r}")
    if rule.min is not None and value < rule.min:
        raise ValueError(f"must be at least {rule.min:g}, not {value!r}")
    if rule.max is not None and value > rule.max:
        raise ValueError(f"must be at most {rule.max:g}, not {value!r}")
    if rule.check is not None:
        rule.check(value)


def like(pattern: str, meant: str) -> Callable[[str], None]:
    """Make a check for texts of a form.

    :param pattern: the form, as a regular expression
    :param meant: the form, in words
    """

    def check_form(text: str) -> None:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {meant}, not {text!r}")

    return check_form
