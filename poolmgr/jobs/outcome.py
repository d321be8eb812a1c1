"""How a job ends, and what is known of one: values for whoever looks on."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from poolmgr.actions.base import Action
from poolmgr.errors import (
    DeviceNotDeleted,
    Forked,
    PluginFailed,
    PoolmgrError,
    told,
    words_of,
)
from poolmgr.jobs import message as wire
from poolmgr.jobs.message import FAIL, Message
from poolmgr.ownership import Job
from poolmgr.settings import PoolSettings
from poolmgr.text import one_line
from poolmgr.tracing import Trail

#: Fields of a message or an answer that say what a job was about.
_ABOUT = ("name", "ip", "addr")


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    :ivar answer: the whole answer, as it goes over the wire
    :ivar added: what the action added to it
    :ivar error: why it is a FAIL; None when it is a PASS
    :ivar code: its error's code; empty when it is a PASS
    :ivar reason: its error's text; empty when it is a PASS
    :ivar retryable: whether the same request may succeed later
    :ivar followed: whether the action wants to know when its answer did not
        reach the client
    """

    answer: Message
    added: Mapping[str, Any]
    error: PoolmgrError | None = None
    code: str = ""
    reason: str = ""
    retryable: bool = False
    followed: bool = False


@dataclass(slots=True)
class EndedJob:
    """A job that has ended.

    :ivar job: the delivery that it was started for
    :ivar action: the name of its action, as it is installed; empty if the
        message names none that can be used
    :ivar trail: its action's name as the message has it, its request id
    :ivar request: the message's own fields; {} if it could not be read
    :ivar outcome: its answer, and why it is a FAIL
    :ivar seconds: how long it took
    """

    job: Job
    action: str
    trail: Trail
    request: Message
    outcome: Outcome
    seconds: float

    @classmethod
    def now(
        cls,
        trail: Trail,
        action: type[Action[Any]] | None,
        request: Message,
        outcome: Outcome,
        started: float,
    ) -> "EndedJob":
        """One that ends now.

        :param started: when it began, monotonic
        """
        job = trail.job
        assert job is not None  # noqa: S101 - it is the trail of one
        name = "" if action is None else trail.action.upper()
        seconds = time.monotonic() - started
        return cls(job, name, trail, request, outcome, seconds)

    @property
    def about(self) -> dict[str, str]:
        """Name and addresses of what the job was about, if they are known."""
        fields = {**self.request, **self.outcome.added}
        return {
            name: one_line(value)
            for name in _ABOUT
            if isinstance(value := fields.get(name), str)
        }


@dataclass(frozen=True)
class RunningJob:
    """A job that runs now.

    :ivar job: the delivery that it was started for
    :ivar action: the action's name, as the message has it
    :ivar seconds: how long it has been running
    :ivar limit: seconds after which it is answered in any case
    :ivar deliveries: how many wait for its answer
    :ivar request_id: finds it in the logs of the cloud
    """

    job: Job
    action: str
    seconds: float
    limit: float
    deliveries: int
    request_id: str = ""


def failed(
    settings: PoolSettings,
    fields: Message,
    withheld: Sequence[str],
    error: PoolmgrError,
) -> Outcome:
    """The outcome of a job that failed.

    :param withheld: what the action answers.  It must not look answered: a
        FAIL of BUILD_DEVICE that has only a name breaks Libra's client.
    """
    try:
        # Once: it may be a plugin's own kind of error, which can change.
        reason = str.join("", [str(error)])
        code, retryable = error.code, error.retryable
        handed_back = isinstance(error, DeviceNotDeleted)
        added = wire.snapshot(error.answer) if handed_back else {}
        if type(code) is not str or type(retryable) is not bool:
            raise TypeError("its code or retryable is of another type")
    except BaseException as wrong:
        unusable = PluginFailed(f"{told(error)}, not usable: {told(wrong)}")
        return failed(settings, fields, withheld, unusable)
    if settings.explain_failures:
        added["error"] = {
            "code": code,
            "message": reason,
            "retryable": retryable,
        }
    answer = wire.answer(fields, FAIL, added, withheld)
    return Outcome(answer, added, error, code, reason, retryable)


def shown(value: object) -> str:
    """A value of a message as text; a caller's own objects by their type."""
    if value is None or type(value) in (str, bool, int, float):
        return words_of(value)
    return type(value).__name__


class Awaited(Future[Outcome]):
    """An outcome to come; none ever comes in the child of a fork.

    To wait for it there raises Forked.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made_in = os.getpid()

    def result(self, timeout: float | None = None) -> Outcome:
        """Wait for it."""
        self._require_own_process()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for it; it is never an exception."""
        self._require_own_process()
        return super().exception(timeout)

    def add_done_callback(
        self, fn: Callable[[Future[Outcome]], object]
    ) -> None:
        """Have it told."""
        self._require_own_process()
        super().add_done_callback(fn)

    def _require_own_process(self) -> None:
        if self._made_in != os.getpid():
            raise Forked("Submission")
