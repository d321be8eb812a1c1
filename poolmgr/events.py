"""Events as plain values, for observers that record metrics or traces."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from poolmgr.errors import PoolmgrError
from poolmgr.ownership import Job
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Fields of a message or an answer that identify a device or floating IP.
_ABOUT = ("name", "ip", "addr")


@dataclass(frozen=True)
class CloudCall:
    """A completed call of the cloud.

    :ivar service: "compute", "network", "image" or "identity"; a third-party
        driver may have other names
    :ivar method: the HTTP method, or a similar name
    :ivar status: the HTTP status; None if there was no answer
    :ivar seconds: its duration
    """

    service: str
    method: str
    status: int | None
    seconds: float

    @property
    def is_answer(self) -> bool:
        """Whether the service answered without an internal error."""
        return self.status is not None and self.status < 500


@dataclass(frozen=True)
class Outcome:
    """The result of a job.

    :ivar answer: the complete answer, as sent to the client
    :ivar added: the fields that the action added
    :ivar error: the error of a FAIL; None for a PASS
    :ivar code: the error's code; empty for a PASS
    :ivar reason: the error's text; empty for a PASS
    :ivar retryable: whether the same request may succeed later
    :ivar followed: whether the action must be told if its answer does not
        reach the client
    """

    answer: dict[str, object]
    added: Mapping[str, Any]
    error: PoolmgrError | None = None
    code: str = ""
    reason: str = ""
    retryable: bool = False
    followed: bool = False


@dataclass(frozen=True)
class RunningJob:
    """A running job.

    :ivar job: the delivery that started it
    :ivar action: the action's name in the message
    :ivar seconds: the time since its start
    :ivar limit: its time limit in seconds, clean-up included
    :ivar deliveries: the number of deliveries that wait for the answer
    :ivar request_id: its id in the logs of the cloud
    :ivar doing: its current step, or empty
    """

    job: Job
    action: str
    seconds: float
    limit: float
    deliveries: int
    request_id: str = ""
    doing: str = ""


@dataclass(slots=True)
class EndedJob:
    """A completed job.

    :ivar job: the delivery that started it
    :ivar action: the name of the installed action; empty if it is unknown
    :ivar requested_action: the action's name in the message
    :ivar request_id: its id in the logs of the cloud
    :ivar request: the fields of the message; {} if it could not be parsed
    :ivar outcome: its result
    :ivar seconds: its duration
    """

    job: Job
    action: str
    requested_action: str
    request_id: str
    request: Mapping[str, object]
    outcome: Outcome
    seconds: float

    @property
    def about(self) -> dict[str, str]:
        """Name and addresses of the job's device or floating IP, if known."""
        fields = {**self.request, **self.outcome.added}
        return {
            name: one_line(value)
            for name in _ABOUT
            if isinstance(value := fields.get(name), str)
        }


class Observer:
    """A base class of observers; its methods do nothing.

    Override the methods that you need. They are called on the event loop, so
    they must return quickly.
    """

    def job_ended(self, ended: EndedJob) -> None:
        """Handle the end of a job; called once, however many deliveries."""

    def cloud_called(self, call: CloudCall) -> None:
        """Handle the end of a call of the cloud."""

    def reaper_looked(self, findings: Sequence[Any] | None) -> None:
        """Handle the end of a run of the reaper.

        :param findings: its findings; None if the run failed. Each has a
            ``kind`` ("device" or "floating IP"), a ``verdict`` ("kept",
            "unowned", "removed" or "failed") and a ``reason``; ``str()``
            names the resource
        """


def tell(method: Callable[[T], Any], event: T) -> None:
    """Call a method of an observer, and log what it raises.

    :param method: the observer's method
    :param event: its argument
    """
    try:
        method(event)
    # A SystemExit of an observer must not end the loop.
    except BaseException:
        LOG.exception("a callback failed")
