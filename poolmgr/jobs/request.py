"""A message that was read: what it asks for, and the answers to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from poolmgr.actions.base import Action, limits
from poolmgr.actions.fields import parse_request
from poolmgr.errors import (
    DeviceNotDeleted,
    PluginFailed,
    PluginNotFound,
    PoolmgrError,
    UnknownAction,
)
from poolmgr.events import EndedJob, Outcome
from poolmgr.foreign import told, words_of
from poolmgr.jobs import message as wire
from poolmgr.jobs.call import known
from poolmgr.jobs.message import FAIL, PASS, Message
from poolmgr.plugins import Registry
from poolmgr.settings import PoolSettings
from poolmgr.tracing import RequestContext

#: Seconds after its time in which an action can still say why it failed.
GRACE = 0.5


@dataclass(frozen=True)
class JobRequest:
    """What a message asks for.

    :ivar settings: the pool's; kept, for the manager may have others before
        the job ends
    :ivar fields: the message's own fields
    :ivar action: the action, None if there is none that can be used
    :ivar request: what the action takes
    :ivar answers: the fields that the action adds to the answer
    :ivar timeout: seconds that the action may take
    :ivar cleanup_time: seconds more to clear up in
    :ivar error: why it cannot be run; None if it can
    """

    settings: PoolSettings
    fields: Message
    action: type[Action[Any]] | None = None
    request: Any = None
    answers: tuple[str, ...] = ()
    timeout: float = 0.0
    cleanup_time: float = 0.0
    error: PoolmgrError | None = None

    @property
    def name(self) -> str:
        """The name of the action, as the message has it."""
        return _shown(self.fields.get("action"))

    @cached_property
    def content(self) -> str:
        """A text that is the same for messages that ask for the same."""
        # Not compared as they are: 1, 1.0 and True are equal in Python.
        return json.dumps(self.fields, sort_keys=True, default=repr)

    @property
    def limit(self) -> float:
        """Seconds after which it is answered even if it does not end."""
        return self.timeout + self.cleanup_time + GRACE

    def succeed(self, returned: object) -> Outcome:
        """Make the outcome of what the action returned.

        :raises PluginFailed: it returned something else than it announced
        """
        action = self.action
        assert action is not None  # noqa: S101 - it has run
        added = self._checked(action.__name__, returned)
        followed = (
            action.undo is not Action.undo
            or action.undelivered is not Action.undelivered
        )
        answer = wire.answer(self.fields, PASS, added)
        return Outcome(answer, added, followed=followed)

    def _checked(self, name: str, returned: object) -> Mapping[str, Any]:
        """Check and copy: the action may go on changing what it returned."""
        if not issubclass(type(returned), Mapping):
            raise PluginFailed(
                f"action {name} returned {type(returned).__name__}, not a "
                "mapping"
            )
        try:
            added = wire.snapshot(returned)  # type: ignore[arg-type]
        except BaseException as error:
            raise PluginFailed(
                f"action {name} returned what is not JSON: {told(error)}"
            ) from None
        if added.keys() != set(self.answers):
            raise PluginFailed(
                f"action {name} returned the fields {sorted(added)}, not "
                f"{sorted(self.answers)}"
            )
        return added

    def fail(self, error: PoolmgrError) -> Outcome:
        """Make the outcome of a failure.

        What the action answers is withheld.  It must not look answered: a
        FAIL of BUILD_DEVICE that has only a name breaks Libra's client.
        """
        code, retryable = error.code, error.retryable
        # Once: a plugin's own kind of error may change.
        reason = words_of(error)
        handed_back = isinstance(error, DeviceNotDeleted)
        added = wire.snapshot(error.answer) if handed_back else {}
        if self.settings.explain_failures:
            added["error"] = {
                "code": code,
                "message": reason,
                "retryable": retryable,
            }
        answer = wire.answer(self.fields, FAIL, added, self.answers)
        return Outcome(answer, added, error, code, reason, retryable)

    def ended(
        self, context: RequestContext, outcome: Outcome, seconds: float
    ) -> EndedJob:
        """Return what observers are told of the job when it has ended."""
        assert context.job is not None  # noqa: S101 - it is a job's
        return EndedJob(
            context.job,
            "" if self.action is None else self.name.upper(),
            self.name,
            context.request_id,
            self.fields,
            outcome,
            seconds,
        )


def read_message(
    message: object, actions: Registry[Action[Any]], settings: PoolSettings
) -> JobRequest:
    """Read a message; what is wrong with it is in the result's ``error``.

    :param message: its payload as bytes, its text, or a mapping
    """
    fields: Message = {}
    action = None
    answers: tuple[str, ...] = ()
    try:
        fields = wire.decode(message)
        action = _action(fields, actions)
        # What the class says is taken once: it is a plugin's, and may change.
        answers = tuple(action.answers)
        request = parse_request(action.takes, fields, action.__name__)
        times = _times(action, settings)
    except Exception as error:
        # Without what it came of and through, which hold the message.
        reason = known(error, "reading the message").with_traceback(None)
        reason.__context__ = None
        return JobRequest(
            settings, fields, action, None, answers, 0, 0, reason
        )
    return JobRequest(settings, fields, action, request, answers, *times)


def time_limit(action: type[Action[Any]], settings: PoolSettings) -> float:
    """Return the seconds after which a job is answered in any case.

    :raises ValueError: the action says nonsense of its times
    """
    return sum(_times(action, settings)) + GRACE


def _times(
    action: type[Action[Any]], settings: PoolSettings
) -> tuple[float, float]:
    """Seconds that an action may take, and seconds more to clear up in."""
    timeout, cleanup_time = limits(action)
    usual = settings.long_timeout if action.long else settings.short_timeout
    return usual if timeout is None else timeout, cleanup_time


def _action(
    fields: Message, actions: Registry[Action[Any]]
) -> type[Action[Any]]:
    name = fields.get("action")
    if not isinstance(name, str):
        raise UnknownAction(_shown(name), actions.names())
    try:
        return actions.load(name)
    except PluginNotFound as error:
        raise UnknownAction(repr(name), error.known) from None


def _shown(value: object) -> str:
    """A value of a message as text; a caller's own objects by their type."""
    if value is None or type(value) in (str, bool, int, float):
        return words_of(value)
    return type(value).__name__
