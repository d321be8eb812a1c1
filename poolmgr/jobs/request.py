"""A message that was read: what it asks for, and the answers to it."""

import contextlib
import json
from typing import Any

from poolmgr.actions.base import Action, limits, parse_request
from poolmgr.errors import (
    DeviceNotDeleted,
    PluginError,
    PluginFailed,
    PluginNotFound,
    PoolmgrError,
    UnknownAction,
)
from poolmgr.events import Outcome
from poolmgr.jobs import message as wire
from poolmgr.jobs.message import FAIL, PASS, Message
from poolmgr.plugins import Registry, known
from poolmgr.settings import PoolSettings
from poolmgr.text import told, words_of

#: Seconds after its time in which an action can still say why it failed.
GRACE = 0.5


class JobRequest:
    """What a message asks for.

    :param message: its payload as bytes, its text, or a mapping
    :param actions: those that there are
    :param settings: the pool's
    :ivar settings: the pool's; kept, for the manager may have others before
        the job ends
    :ivar fields: the message's own fields
    :ivar content: a text that is the same for messages that ask for the same
    :ivar action: the action, None if there is none that can be used
    :ivar instance: the object of the action that runs
    :ivar request: what the action takes
    :ivar timeout: seconds that the action may take
    :ivar cleanup_time: seconds more to clear up in
    :ivar error: why it cannot be run; None if it can
    """

    __slots__ = (
        *("settings", "fields", "content", "action", "instance", "request"),
        *("timeout", "cleanup_time", "error", "_answers"),
    )

    def __init__(
        self,
        message: object,
        actions: Registry[Action[Any]],
        settings: PoolSettings,
    ) -> None:
        self.settings = settings
        self.fields: Message = {}
        self.content = ""
        self.action: type[Action[Any]] | None = None
        self.instance: Any = None
        self.request: Any = None
        self.timeout = self.cleanup_time = 0.0
        self.error: PoolmgrError | None = None
        self._answers: tuple[str, ...] = ()
        try:
            self._read(message, actions)
        except Exception as error:
            self.error = known(error, "reading the message").with_traceback(
                None
            )

    def _read(self, message: object, actions: Registry[Action[Any]]) -> None:
        self.fields = wire.decode(message)
        # Not compared as they are: 1, 1.0 and True are equal in Python.
        self.content = json.dumps(self.fields, sort_keys=True, default=repr)
        name = self.fields.get("action")
        if not isinstance(name, str):
            raise UnknownAction(self.name, actions.names())
        try:
            self.action = action = actions.load(name)
        except PluginNotFound:
            raise UnknownAction(repr(name), actions.names()) from None
        # What the class says is taken once: it is a plugin's, and may change.
        self._answers = tuple(action.answers)
        self.timeout, self.cleanup_time = _times(action, self.settings)
        self.request = parse_request(action, self.fields)
        self.instance = action()

    @property
    def name(self) -> str:
        """The name of the action, as the message has it."""
        value = self.fields.get("action")
        if value is None or type(value) in (str, bool, int, float):
            return words_of(value)
        return type(value).__name__  # a caller's own object

    @property
    def title(self) -> str:
        """What runs, for logs and errors."""
        return f"action {type(self.instance).__name__}"

    @property
    def limit(self) -> float:
        """Seconds after which it is answered even if it does not end."""
        return self.timeout + self.cleanup_time + GRACE

    def succeed(self, returned: object) -> Outcome:
        """Make the outcome of what the action returned.

        :raises PluginFailed: it returned something else than it announced
        """
        doing = f"{self.title} returned"
        try:
            # The action may go on changing what it returned.
            added = wire.snapshot(returned)
        except BaseException as error:
            what = f"{doing} what is not a JSON object: {told(error)}"
            raise PluginFailed(what) from None
        if added.keys() != set(self._answers):
            fields = f"{sorted(added)}, not {sorted(self._answers)}"
            raise PluginFailed(f"{doing} the fields {fields}")
        action = self.action or Action
        followed = (
            action.undo is not Action.undo
            or action.undelivered is not Action.undelivered
        )
        answer = {**self.fields, **added, "response": PASS}
        return Outcome(answer, added, followed=followed)

    def fail(self, error: PoolmgrError) -> Outcome:
        """Make the outcome of a failure.

        What the action answers is withheld.  It must not look answered: a
        FAIL of BUILD_DEVICE that has only a name breaks Libra's client.
        """
        # Once: a plugin's own kind of error may change.
        reason = words_of(error)
        handed_back = isinstance(error, DeviceNotDeleted)
        added = wire.snapshot(error.answer) if handed_back else {}
        if self.settings.explain_failures:
            added["error"] = {
                "code": error.code,
                "message": reason,
                "retryable": error.retryable,
            }
        own = {k: v for k, v in self.fields.items() if k not in self._answers}
        return Outcome(
            {**own, **added, "response": FAIL},
            added,
            error,
            error.code,
            reason,
            error.retryable,
        )


def longest_job(
    actions: Registry[Action[Any]], settings: PoolSettings
) -> float:
    """Seconds that a job may take, whatever its action, clearing up included.

    Actions that cannot be loaded take none.
    """
    longest = 0.0
    for name in actions.names():
        with contextlib.suppress(PluginError, ValueError):
            longest = max(longest, sum(_times(actions.load(name), settings)))
    return longest + GRACE


def _times(
    action: type[Action[Any]], settings: PoolSettings
) -> tuple[float, float]:
    """Seconds that an action may take, and seconds more to clear up in."""
    timeout, cleanup_time = limits(action)
    usual = settings.long_timeout if action.long else settings.short_timeout
    return usual if timeout is None else timeout, cleanup_time
