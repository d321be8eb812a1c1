"""The contract of an action.

An action is a class made known by an entry point in ``poolmgr.actions``,
whose name is what a message has as ``"action"``::

    [options.entry_points]
    poolmgr.actions =
        PING_DEVICE = mypackage.ping:PingDevice

:func:`ip_address`, :func:`device_name` and :func:`text` say what a field of
the request may be.  From the class alone poolmgr makes the checks before the
cloud is called, the command ``poolmgr ping-device NAME``, and its help.
"""

import abc
import copy
import dataclasses
import functools
import inspect
import ipaddress
import logging
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from poolmgr.cloud.capacity import Capacity
from poolmgr.drivers.base import Driver
from poolmgr.errors import InvalidField, PluginFailed, told, words_of
from poolmgr.ownership import (
    Job,
    Mark,
    Ownership,
    is_device_name,
    time_now,
)
from poolmgr.settings import PoolSettings
from poolmgr.text import one_line
from poolmgr.waiting import Deadline

RequestT = TypeVar("RequestT")

#: Most seconds that an action may take, or clear up in: a day.
LONGEST = 86400

_ATTRIBUTES = ("takes", "answers", "long", "timeout", "cleanup_time", "undo")


@dataclass(frozen=True)
class Context:
    """What an action is given.

    :ivar driver: the cloud
    :ivar settings: the pool's settings
    :ivar job: which delivery of which job this is
    :ivar deadline: when it has to be done; holds the signal to stop, too.
        Hand it to everything that waits.
    :ivar log: where to log; every line bears the job
    :ivar report: ``report(done, total)`` tells waiting clients of progress
    :ivar wanted: whether anybody still waits for the answer. Once it said
        no, the answer goes nowhere; the job server will deliver the job
        again, or has forgotten it.
    :ivar forsaken: whether nobody can have the answer any more. Unlike
        ``wanted`` it is no last word: a delivery that comes now joins.
    :ivar capacity: what all jobs know of the cloud's room
    :ivar request_id: finds the job in the logs, the cloud's included; to be
        sent along with what is asked of other services, too
    :ivar began: when this delivery began, as marks write times
    :ivar delivered_before: whether a worker was lost with this job before;
        asks the job server
    """

    driver: Driver
    settings: PoolSettings
    job: Job
    deadline: Deadline
    log: "logging.LoggerAdapter[logging.Logger]"
    report: Callable[[int, int], None]
    wanted: Callable[[], bool]
    forsaken: Callable[[], bool] = lambda: False
    capacity: Capacity = dataclasses.field(default_factory=Capacity)
    request_id: str = ""
    began: str = dataclasses.field(default_factory=time_now)
    delivered_before: Callable[[], bool] = lambda: False

    @property
    def ownership(self) -> Ownership:
        """What may be touched."""
        return self.settings.ownership

    @property
    def patience(self) -> float:
        """Seconds to wait for room in the cloud; it leaves time for a boot.

        None at all for what was asked by hand: a person wants to know.
        """
        if not self.job.server:
            return 0.0
        return min(self.settings.quota_wait, self.deadline.remaining() / 2)

    def new_mark(self) -> Mark:
        """The mark to put on what is made for this job."""
        return Mark.for_job(self.settings.pool, self.job)

    def is_left_over(self, mark: Mark | None) -> bool:
        """Whether an earlier delivery of this job left what bears this."""
        return mark is not None and mark.is_of(self.settings.pool, self.job)

    def is_spare(self, mark: Mark | None, before: Mark | None) -> bool:
        """Whether a thing made for this job can be deleted, once the job has
        another answer.

        What was handed over under the job's handle was not answered, or the
        job would not have come again. But this worker may have lost its link
        without noticing: then a later delivery may be building, or may have
        answered, what was made or taken over after this one began.

        :param mark: the thing's mark, of this job
        :param before: its mark when this delivery began, None if it was not
            to be seen then
        """
        if mark is None or mark.pool != self.settings.pool:
            return False
        if mark.taken != (before.taken if before else 0):
            return False
        if before is not None and mark.is_left:
            return True
        same = bool(self.job.handle) and mark.handle == self.job.handle
        return same and mark.made <= self.began


class Action(abc.ABC, Generic[RequestT]):
    """A thing that jobs can ask for.

    The first line of its docstring describes its command.

    :cvar takes: a frozen dataclass of the fields it takes. Those without
        a default are required. Messages may have any other fields besides.
    :cvar answers: the fields it adds to the answer, all of them always
    :cvar long: whether it waits for something slow, as a boot is. Short
        actions never wait for long ones.
    :cvar timeout: seconds it may take, a day at most; None for what is
        configured
    :cvar cleanup_time: seconds more to clear up in after its deadline
    """

    takes: type[RequestT]
    answers: ClassVar[tuple[str, ...]] = ()
    long: ClassVar[bool] = False
    timeout: ClassVar[float | None] = None
    cleanup_time: ClassVar[float] = 0.0

    @abc.abstractmethod
    def run(self, request: RequestT, context: Context) -> Mapping[str, Any]:
        """Do it.  Runs on a thread of its own and may block.

        :returns: the fields named in :attr:`answers`, ready for JSON. They
            are copied at once: what changes later does not count.
        :raises PoolmgrError: the answer is a FAIL for this reason. Any other
            exception is a FAIL as well, but a defect of the plugin.
        """

    def undo(self, answer: Mapping[str, Any], context: Context) -> None:
        """Take back what a PASS made, for nobody will have the answer.

        Called, on the object that ran, when the job server does not know the
        job any more, or the action passed after its time.

        :param answer: what :meth:`run` returned, as its client reads it
        """

    def undelivered(
        self, answer: Mapping[str, Any], sent: bool, context: Context
    ) -> None:
        """Note that the answer of a PASS may not have reached its client.

        Called, on the object that ran, when the link to the job server broke.
        The job may be delivered again, and another worker be at it already;
        so this is to leave things for that delivery, and for the reaper.

        :param answer: what :meth:`run` returned, as its client reads it
        :param sent: False when it certainly did not reach its client
        """


def defect(action: type[Action[Any]]) -> str | None:
    """What is wrong with an action's class attributes, None if nothing is."""
    for name in _ATTRIBUTES:
        try:
            getattr(action, name, None)
        except BaseException as error:
            return f"{name!r} raises {told(error)}"
    takes = getattr(action, "takes", None)
    if not (isinstance(takes, type) and dataclasses.is_dataclass(takes)):
        return "'takes' must be a dataclass"
    answers = action.answers
    if type(answers) is not tuple or any(type(n) is not str for n in answers):
        return "'answers' must be a tuple of names"
    if {"response", "action"} & {*answers}:
        return "'answers' must not name 'action' or 'response'"
    if type(action.long) is not bool:
        return "'long' must be True or False"
    try:
        limits(action)
    except ValueError as error:
        return str(error)
    for field in dataclasses.fields(takes):
        if wrong := _defect_of_field(field):
            return f"'takes': the field {field.name!r}: {wrong}"
    return None


def _defect_of_field(field: "dataclasses.Field[Any]") -> str | None:
    for name in ("check", "from_text"):
        if not callable(field.metadata.get(name, str)):
            return f"{name!r} must be a function"
    if type(field.metadata.get("help", "")) is not str:
        return "'help' must be text"
    return None


def limits(action: type[Action[Any]]) -> tuple[float | None, float]:
    """An action's ``timeout`` and ``cleanup_time``.

    :raises ValueError: one of them is no number of seconds within a day
    """
    timeout = action.timeout
    if timeout is not None:
        timeout = _seconds("timeout", timeout, 0.001)
    return timeout, _seconds("cleanup_time", action.cleanup_time, 0.0)


def _seconds(name: str, value: object, least: float) -> float:
    is_number = isinstance(value, (int, float)) and type(value) is not bool
    # So written that it refuses NaN, which is neither more nor less.
    if not (is_number and least <= value <= LONGEST):  # type: ignore[operator]
        raise ValueError(
            f"{name!r} must be a number of seconds from {least:g} to {LONGEST}"
        )
    return float(value)  # type: ignore[arg-type]


def parse(action: type[Action[Any]], message: Mapping[str, object]) -> Any:
    """An action's request from a message.

    :raises InvalidField: a field is missing or not what it has to be
    :raises PluginFailed: the action's own check of it fails otherwise
    """
    doing = f"action {action.__name__}"
    values = {}
    for field in _fields(action.takes):  # type: ignore[arg-type]
        if field.name in message:
            value = message[field.name]
            if isinstance(value, (dict, list)):
                # The answer has it as it came, whatever the action does.
                value = copy.deepcopy(value)
            check = field.metadata.get("check", _anything)
            values[field.name] = _converted(doing, field.name, check, value)
        elif is_required(field):
            raise InvalidField(field.name, "is missing")
    try:
        return action.takes(**values)
    except BaseException as error:
        raise PluginFailed(f"{doing}: its request: {told(error)}") from error


def field_from_text(
    action: type[Action[Any]], field: "dataclasses.Field[Any]", text: str
) -> object:
    """What a message has in a field when a command has this text.

    :raises InvalidField: the text cannot be that
    :raises PluginFailed: the field's ``from_text`` fails otherwise
    """
    from_text = field.metadata.get("from_text", str)
    doing = f"action {action.__name__}"
    return _converted(doing, field.name, from_text, text)


def _converted(
    doing: str, name: str, convert: Callable[[Any], object], value: object
) -> object:
    """What an action's own function makes of a field's value."""
    try:
        return convert(value)
    except ValueError as error:
        raise InvalidField(name, one_line(words_of(error))) from None
    except BaseException as error:
        raise PluginFailed(
            f"{doing}: its check of {name!r}: {told(error)}"
        ) from error


@functools.cache
def _fields(takes: Hashable) -> "tuple[dataclasses.Field[Any], ...]":
    return dataclasses.fields(takes)  # type: ignore[arg-type]


def is_required(field: "dataclasses.Field[Any]") -> bool:
    """Whether a request's field has no default."""
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def description(action: type[Action[Any]]) -> str:
    """An action's docstring, unless it only inherited one."""
    return inspect.cleandoc(action.__doc__ or "")


# -- what fields can be -----------------------------------------------------


@dataclass(frozen=True)
class NoFields:
    """The request of an action that takes nothing."""


def text(help: str, longest: int = 255) -> dict[str, Any]:
    """Metadata of a field that is printable text.

    :param help: what it is, for a person
    :param longest: most characters it may have; at least one
    """

    def check(value: object) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= longest:
            raise ValueError(f"must be text of 1 to {longest} characters")
        if not value.isprintable():
            raise ValueError("must be printable")
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


def _anything(value: object) -> object:
    return value
