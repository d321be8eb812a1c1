"""The fields of a request: what they may be, and how they are read."""

import copy
import dataclasses
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from poolmgr.errors import InvalidField, PluginFailed
from poolmgr.foreign import told, words_of
from poolmgr.ownership import is_device_name
from poolmgr.text import one_line

Field = dataclasses.Field[Any]


@dataclass(frozen=True)
class NoFields:
    """The request of an action that takes nothing."""


def text(help: str, longest: int = 255) -> dict[str, Any]:
    """Metadata of a field that is printable text.

    :param help: what it is, for a person
    :param longest: most characters it may have; at least one
    """

    def check(value: object) -> str:
        if (
            not isinstance(value, str)
            or not value.isprintable()
            or not 0 < len(value) <= longest
        ):
            raise ValueError(
                f"must be printable text of 1 to {longest} characters"
            )
        return value

    return field_of(check, help)


def device_name(help: str) -> dict[str, Any]:
    """Metadata of a field that is a device's name."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not is_device_name(value):
            raise ValueError(
                "must be a device's name: 1 to 63 letters, digits, '-' and "
                "'.', with a letter or digit at both ends"
            )
        return value

    return field_of(check, help)


def ip_address(help: str) -> dict[str, Any]:
    """Metadata of a field that is an IPv4 or IPv6 address."""

    def check(value: object) -> str:
        try:
            if not isinstance(value, str) or "%" in value:
                raise ValueError
            return str(ipaddress.ip_address(value))
        except ValueError:
            raise ValueError("must be an IP address like 192.0.2.1") from None

    return field_of(check, help)


def field_of(
    check: Callable[[object], Any],
    help: str,
    from_text: Callable[[str], object] = str,
) -> dict[str, Any]:
    """Metadata of a field of any kind.

    :param check: takes the value from the message, returns what the request
        gets; raises ValueError, "must be ...", if it is none
    :param help: what it is, for a person
    :param from_text: what the message has when a command has this text
    """
    return {"check": check, "help": help, "from_text": from_text}


def is_required(field: Field) -> bool:
    """Whether a request's field has no default."""
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def parse_request(
    takes: type[Any], message: Mapping[str, object], action: str
) -> Any:
    """Make a request from a message.

    :param takes: the request's dataclass
    :param action: the name of the action's class, for errors
    :raises InvalidField: a field is missing or not what it has to be
    :raises PluginFailed: the action's own check of it fails otherwise
    """
    values = {}
    for field in dataclasses.fields(takes):
        if field.name in message:
            # The answer has it as it came, whatever the action does.
            value = copy.deepcopy(message[field.name])
            if check := field.metadata.get("check"):
                value = convert(action, field.name, check, value)
            values[field.name] = value
        elif is_required(field):
            raise InvalidField(field.name, "is missing")
    return takes(**values)


def convert(
    action: str, name: str, function: Callable[[Any], object], value: object
) -> object:
    """Call an action's own function for a field's value.

    :raises InvalidField: it says that the value cannot be that
    :raises PluginFailed: it fails otherwise
    """
    try:
        return function(value)
    except ValueError as error:
        raise InvalidField(name, one_line(words_of(error))) from None
    except BaseException as error:
        raise PluginFailed(
            f"action {action}: its check of {name!r}: {told(error)}"
        ) from error
