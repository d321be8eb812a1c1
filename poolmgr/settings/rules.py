"""What is known of a setting: its help, its bounds, and how it is checked.

A settings class is a frozen dataclass of :func:`setting` fields that calls
:func:`check` when it is made.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Protocol, TypeVar

from poolmgr.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Rule:
    """What is known of a setting besides its type and default.

    :ivar help: what it does, for a person
    :ivar min: the lowest value, of a number
    :ivar max: the highest value, of a number
    :ivar choices: all values it can have
    :ivar secret: whether it must never be shown
    :ivar check: raises ValueError when the value cannot be used
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


def rules(settings: type[IsSettings]) -> list[tuple[Field[Any], Rule]]:
    """The fields of a settings class, each with its rule."""
    return [(f, f.metadata["rule"]) for f in fields(settings)]


def check(settings: IsSettings, group: str) -> None:
    """Hold every value against its rule; for ``__post_init__``.

    :param group: the group's name in the configuration, for the message
    :raises ConfigError: in one line, what is wrong with which setting
    """
    for each, rule in rules(type(settings)):
        value = getattr(settings, each.name)
        if (wrong := problem(value, rule)) is not None:
            raise ConfigError(f"[{group}] {each.name} {wrong}")


def problem(value: Any, rule: Rule) -> str | None:
    """What is wrong with a value, as words after the setting's name.

    :returns: None if nothing is; of a secret no more than that it is wrong
    """
    wrong = _problem(value, rule)
    return "is not what it has to be" if wrong and rule.secret else wrong


def _problem(value: Any, rule: Rule) -> str | None:
    if value is None:
        return None
    if rule.choices and value not in rule.choices:
        return f"must be one of {', '.join(rule.choices)}, not {value!r}"
    # Put like this since nan is neither above nor below anything.
    if rule.min is not None and not value >= rule.min:
        return f"must be at least {rule.min:g}, not {value!r}"
    if rule.max is not None and not value <= rule.max:
        return f"must be at most {rule.max:g}, not {value!r}"
    if rule.check is not None:
        try:
            rule.check(value)
        except ValueError as error:
            return str(error)
    return None


def function_name(name: str) -> None:
    if not name or any(c.isspace() or not c.isprintable() for c in name):
        raise ValueError(
            f"must be a name without blanks and control characters, not "
            f"{name!r}"
        )


def host(name: str) -> None:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})", name):
            raise ValueError(
                f"must be an address or a host name, not {name!r}"
            ) from None


def pool_name(name: str) -> None:
    # It has to fit, with the rest of a mark, into what clouds let us write.
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,40}", name):
        raise ValueError(
            f"must be 1 to 40 letters, digits, '.', '-' and '_', not {name!r}"
        )
