"""The contract of an action.

An action is a class that an entry point in ``poolmgr.actions`` names.  The
entry point's name is the ``"action"`` of a message::

    [options.entry_points]
    poolmgr.actions =
        PING_DEVICE = mypackage.ping:PingDevice

:func:`ip_address`, :func:`device_name` and :func:`text` declare the fields of
the request.  From them poolmgr makes the checks of a message, the command
``poolmgr ping-device NAME``, and its help.

An action may be written in two ways.  ``async def run`` runs on the event
loop, must not block it, and gets a
:class:`~poolmgr.actions.context.Context`.  A plain ``def run`` runs on a
thread of its own, may block, and gets a
:class:`~poolmgr.actions.context.BlockingContext`, whose methods, and those of
its ``cloud``, have the same names and block.
"""

import abc
import copy
import dataclasses
import inspect
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from poolmgr.actions.context import BlockingContext as BlockingContext
from poolmgr.actions.context import Context as Context
from poolmgr.errors import InvalidField, PluginFailed
from poolmgr.ownership import is_device_name
from poolmgr.plugins import ACTIONS, Registry
from poolmgr.text import describe, message_of, one_line

Field = dataclasses.Field[Any]
RequestT = TypeVar("RequestT")

#: Longest ``timeout`` and ``cleanup_time`` in seconds: a day.
LONGEST = 86400


@dataclass(frozen=True)
class NoFields:
    """The request of an action without fields."""


def text(help: str, longest: int = 255) -> dict[str, Any]:
    """Metadata of a field that is printable text.

    :param help: its description in the command's help
    :param longest: maximum number of characters
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
            # ipaddress accepts a zone, as in "fe80::1%eth0"; clouds do not.
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

    :param check: takes the value from the message and returns the value for
        the request; raises ValueError with "must be ..." if it is wrong
    :param help: its description in the command's help
    :param from_text: converts a command's text to the value in the message
    """
    return {"check": check, "help": help, "from_text": from_text}


class Action(abc.ABC, Generic[RequestT]):
    """An action; each job has its own object.

    The first line of the docstring describes its command.  Each method is
    ``async def`` or plain ``def``.

    :cvar takes: a frozen dataclass of the request's fields. Those without a
        default are required. Messages may have other fields as well.
    :cvar answers: the fields that it adds to each answer
    :cvar long: whether it waits for something slow, such as a boot. Short
        actions never wait for long ones.
    :cvar timeout: seconds until its deadline, at most a day; None: as
        configured
    :cvar cleanup_time: additional seconds to clean up after the deadline
    """

    takes: type[RequestT]
    answers: ClassVar[tuple[str, ...]] = ()
    long: ClassVar[bool] = False
    timeout: ClassVar[float | None] = None
    cleanup_time: ClassVar[float] = 0.0

    @abc.abstractmethod
    def run(
        self, request: RequestT, context: Any
    ) -> Mapping[str, Any] | Awaitable[Mapping[str, Any]]:
        """Run the action.

        At the job's deadline, or when the process stops or the caller cancels
        the job, an ``async def`` is cancelled, and in a plain ``def`` the
        current or next call of the cloud raises.  Both then have
        ``cleanup_time`` seconds to clean up.

        :param context: a :class:`~poolmgr.actions.context.Context`, or for a
            plain ``def`` a :class:`~poolmgr.actions.context.BlockingContext`
        :returns: the fields named in ``answers``, as values for JSON.
            They are copied at once.
        :raises PoolmgrError: the reason of a FAIL. Any other exception is a
            FAIL as well, and logged as a bug of the plugin.
        """

    def undo(
        self, answer: Mapping[str, Any], context: Any
    ) -> Awaitable[None] | None:
        """Undo a PASS whose answer nobody gets.

        Called on the object that ran, if the job server does not know the job
        any more, or the action finished after its deadline.

        :param answer: what :meth:`run` returned, as its client reads it
        :param context: as of :meth:`run`
        """
        return None

    def undelivered(
        self, answer: Mapping[str, Any], sent: bool, context: Any
    ) -> Awaitable[None] | None:
        """Handle a PASS whose answer may not have reached the client.

        Called on the object that ran, if the connection to the job server
        broke.  Another worker may already have the job: leave everything for
        that delivery and for the reaper.

        :param answer: what :meth:`run` returned, as its client reads it
        :param sent: False when it certainly did not reach its client
        :param context: as of :meth:`run`
        """
        return None


def action_plugins(
    given: Mapping[str, type[Action[Any]]] | None = None,
) -> Registry[Action[Any]]:
    """Return the registry of the installed actions and the given ones."""
    return Registry("action", ACTIONS, Action, defect, given)  # type: ignore[type-abstract]


def defect(action: type[Action[Any]]) -> str | None:
    """Return what is wrong with an action's class, None if nothing is."""
    takes = getattr(action, "takes", None)
    if not (isinstance(takes, type) and dataclasses.is_dataclass(takes)):
        return "'takes' must be a dataclass"
    answers = action.answers
    if type(answers) is not tuple or any(type(n) is not str for n in answers):
        return "'answers' must be a tuple of names"
    if action.timeout is not None and not _is_time(action.timeout, 0.001):
        return f"'timeout' must be a number of seconds from 0.001 to {LONGEST}"
    if not _is_time(action.cleanup_time, 0.0):
        return f"'cleanup_time' must be a number of seconds up to {LONGEST}"
    return None


def _is_time(value: object, least: float) -> bool:
    # A comparison with NaN is False.
    is_number = isinstance(value, (int, float)) and type(value) is not bool
    return is_number and least <= value <= LONGEST  # type: ignore[operator]


def is_required(field: Field) -> bool:
    """Return whether a request's field has no default."""
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def parse_request(
    action: type[Action[Any]], message: Mapping[str, object]
) -> Any:
    """Return an action's request, made from a message.

    :raises InvalidField: a field is missing or invalid
    :raises PluginFailed: the action's check of a field has a bug
    """
    values = {}
    for field in dataclasses.fields(action.takes):
        if field.name in message:
            # The answer repeats the message's own value.
            value = copy.deepcopy(message[field.name])
            values[field.name] = _convert(action, field, "check", value)
        elif is_required(field):
            raise InvalidField(field.name, "is missing")
    return action.takes(**values)


def field_from_text(
    action: type[Action[Any]], field: Field, text: str
) -> object:
    """Return a field's value in a message, from a command's text.

    :raises InvalidField: the text is invalid
    :raises PluginFailed: the field's ``from_text`` has a bug
    """
    return _convert(action, field, "from_text", text)


def _convert(
    action: type[Action[Any]], field: Field, by: str, value: object
) -> object:
    """Convert a field's value with the action's function, if there is one."""
    if by not in field.metadata:
        return value
    try:
        return field.metadata[by](value)
    except ValueError as error:
        raise InvalidField(field.name, one_line(message_of(error))) from None
    except BaseException as error:
        doing = f"action {action.__name__}: {by} of {field.name!r}"
        raise PluginFailed(f"{doing}: {describe(error)}") from error


def description(action: type[Action[Any]]) -> str:
    """Return an action's docstring, or "" if its class has none."""
    return inspect.cleandoc(action.__doc__ or "")
