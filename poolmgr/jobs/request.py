"""A parsed message, and the answers to it."""

import contextlib
import json
from dataclasses import dataclass, field
from typing import Any

from poolmgr import errors
from poolmgr.actions.base import Action, defect, parse_request
from poolmgr.events import Outcome
from poolmgr.jobs import message as wire
from poolmgr.jobs.message import FAIL, PASS, Message
from poolmgr.plugins import Registry, as_poolmgr_error
from poolmgr.settings import PoolSettings
from poolmgr.text import describe, message_of

#: Seconds after the clean-up time in which an action can still end.
CLEANUP_GRACE = 0.5


@dataclass(eq=False, slots=True)
class JobRequest:
    """A parsed message.

    :ivar settings: the pool's settings, which may change before the job ends
    :ivar fields: the message's own fields
    :ivar content: the fields as text, to compare messages
    :ivar action: the action's class, or None if there is no usable one
    :ivar instance: the action's object
    :ivar request: the request for the action
    :ivar timeout: time limit of the action in seconds
    :ivar cleanup_time: additional seconds to clean up
    :ivar error: why the job cannot run, or None
    """

    settings: PoolSettings
    fields: Message = field(default_factory=dict)
    content: str = ""
    action: type[Action[Any]] | None = None
    instance: Any = None
    request: Any = None
    timeout: float = 0.0
    cleanup_time: float = 0.0
    error: errors.PoolmgrError | None = None

    @classmethod
    def parse(
        cls,
        message: object,
        actions: Registry[Action[Any]],
        settings: PoolSettings,
    ) -> "JobRequest":
        """Parse a message; an invalid one sets :attr:`error`.

        :param message: its payload as bytes, its text, or a mapping
        :param actions: the known actions
        :param settings: the pool's settings
        """
        asked = cls(settings)
        try:
            asked.fields = fields = wire.decode(message)
            # As text, because 1, 1.0 and True are equal in Python.
            asked.content = json.dumps(fields, sort_keys=True, default=repr)
            action = _find(fields.get("action"), actions)
            # A class may have changed since it was loaded.
            if (wrong := defect(action)) is not None:
                raise errors.PluginBroken(f"action {action.__name__}: {wrong}")
            asked.action = action
            asked.timeout = _timeout(action, settings)
            asked.cleanup_time = action.cleanup_time
            asked.request = parse_request(action, fields)
            asked.instance = action()
        except BaseException as error:  # a plugin may even raise SystemExit
            failure = as_poolmgr_error(error, "reading the message")
            # Its frames would keep the message in memory.
            asked.error = failure.with_traceback(None)
        return asked

    @property
    def name(self) -> str:
        """The action's name in the message."""
        return message_of(self.fields.get("action"))

    @property
    def title(self) -> str:
        """The action, for logs and errors."""
        return f"action {type(self.instance).__name__}"

    def succeed(self, returned: object) -> Outcome:
        """Return the outcome for what the action returned.

        :raises PluginFailed: these are not the fields that it declares
        """
        doing, action = f"{self.title} returned", self.action or Action
        try:
            added = wire.snapshot(returned)
        except BaseException as error:
            what = f"{doing} what is not a JSON object: {describe(error)}"
            raise errors.PluginFailed(what) from None
        if added.keys() != set(action.answers):
            fields = f"{sorted(added)}, not {sorted(action.answers)}"
            raise errors.PluginFailed(f"{doing} the fields {fields}")
        followed = (
            action.undo is not Action.undo
            or action.undelivered is not Action.undelivered
        )
        answer = {**self.fields, **added, "response": PASS}
        return Outcome(answer, added, followed=followed)

    def fail(self, error: errors.PoolmgrError) -> Outcome:
        """Return the outcome for an error.

        The request's own fields of the names that the action answers are left
        out: a FAIL of BUILD_DEVICE that has only a name breaks Libra's client.
        """
        reason = message_of(error)
        handed_back = isinstance(error, errors.DeviceNotDeleted)
        # Libra's client later deletes the device that a FAIL names.
        added = dict(error.answer) if handed_back else {}
        if self.settings.explain_failures:
            added["error"] = {
                "code": error.code,
                "message": reason,
                "retryable": error.retryable,
            }
        try:
            added = wire.snapshot(added)
        except BaseException as wrong:
            what = f"{self.title} raised {describe(error)}: {describe(wrong)}"
            # Not for ever: a PluginFailed adds no fields of a plugin.
            return self.fail(errors.PluginFailed(what))
        answers = self.action.answers if self.action else ()
        own = {k: v for k, v in self.fields.items() if k not in answers}
        answer = {**own, **added, "response": FAIL}
        return Outcome(
            answer, added, error, error.code, reason, error.retryable
        )


def _find(name: object, actions: Registry[Action[Any]]) -> type[Action[Any]]:
    """Return the action of a name.

    :raises UnknownAction: there is none
    """
    if not isinstance(name, str):
        raise errors.UnknownAction(message_of(name or ""), actions.names())
    try:
        return actions.load(name)
    except errors.PluginNotFound:
        raise errors.UnknownAction(repr(name), actions.names()) from None


def longest_job(
    actions: Registry[Action[Any]], settings: PoolSettings
) -> float:
    """Return the longest time in seconds that a job may take, clean-up
    included.

    Actions that cannot be loaded are ignored.
    """
    longest = 0.0
    for name in actions.names():
        with contextlib.suppress(errors.PluginError):
            action = actions.load(name)
            seconds = _timeout(action, settings) + action.cleanup_time
            longest = max(longest, seconds)
    return longest + CLEANUP_GRACE


def _timeout(action: type[Action[Any]], settings: PoolSettings) -> float:
    """Return the time limit of an action in seconds."""
    usual = settings.long_timeout if action.long else settings.short_timeout
    return usual if action.timeout is None else action.timeout
