"""A message that was read: which action it asks for, and for how long."""

from dataclasses import dataclass
from typing import Any

from poolmgr.actions.base import Action, limits, parse
from poolmgr.errors import PluginNotFound, PoolmgrError, UnknownAction
from poolmgr.events import EndedJob, Outcome
from poolmgr.jobs import message as wire
from poolmgr.jobs.message import Message
from poolmgr.jobs.outcome import known, shown
from poolmgr.plugins import Registry
from poolmgr.settings import PoolSettings
from poolmgr.tracing import RequestContext

#: Seconds after its time in which an action can still say why it failed.
GRACE = 0.5


@dataclass(frozen=True)
class JobRequest:
    """What a message asks for.

    :ivar fields: the message's own fields
    :ivar action: the action, None if there is none that can be used
    :ivar request: what the action takes
    :ivar answers: the fields that the action adds to the answer
    :ivar timeout: seconds that the action may take
    :ivar cleanup_time: seconds more to clear up in
    :ivar error: why it cannot be run; None if it can
    """

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
        return shown(self.fields.get("action"))

    @property
    def limit(self) -> float:
        """Seconds after which it is answered even if it does not end."""
        return self.timeout + self.cleanup_time + GRACE

    def is_same(self, other: "JobRequest") -> bool:
        """Whether another message asks for the same.

        A client may use a unique for several jobs at once by mistake.
        """
        return wire.content(self.fields) == wire.content(other.fields)


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
        request = parse(action, fields)
        timeout, cleanup_time = _times(action, settings)
    except Exception as error:
        reason = _bare(known(error, "reading the message"))
        return JobRequest(fields, action, None, answers, error=reason)
    return JobRequest(fields, action, request, answers, timeout, cleanup_time)


def ended_job(
    asked: JobRequest,
    context: RequestContext,
    outcome: Outcome,
    seconds: float,
) -> EndedJob:
    """Return what is told of a job that has ended.

    :param seconds: how long it took
    """
    assert context.job is not None  # noqa: S101 - it is the context of one
    name = "" if asked.action is None else asked.name.upper()
    return EndedJob(
        context.job,
        name,
        asked.name,
        context.request_id,
        asked.fields,
        outcome,
        seconds,
    )


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
        raise UnknownAction(shown(name), actions.names())
    try:
        return actions.load(name)
    except PluginNotFound as error:
        raise UnknownAction(repr(name), error.known) from None


def _bare(error: PoolmgrError) -> PoolmgrError:
    """The error without the frames that it came through: they hold the
    message, which may be long, until somebody collects garbage."""
    if error.__suppress_context__:
        error.__context__ = None
    return error.with_traceback(None)
