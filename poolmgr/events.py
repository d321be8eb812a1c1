"""Events as plain values, for observers that make metrics or traces."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from poolmgr.errors import PoolmgrError
from poolmgr.ownership import Job
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Fields of a message or an answer that say what a job was about.
_ABOUT = ("name", "ip", "addr")


@dataclass(frozen=True)
class CloudCall:
    """A call of the cloud that has ended.

    :ivar service: "compute", "network", "image", "identity", or the few names
        of another driver
    :ivar method: the HTTP method, or a similar name
    :ivar status: the HTTP status; None without an answer
    :ivar seconds: how long it took
    """

    service: str
    method: str
    status: int | None
    seconds: float

    @property
    def is_answer(self) -> bool:
        """Whether the service answered, even if it refused."""
        return self.status is not None and self.status < 500


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    :ivar answer: the whole answer, as it goes over the wire
    :ivar added: the fields that the action added
    :ivar error: the error of a FAIL; None for a PASS
    :ivar code: the error's code; empty for a PASS
    :ivar reason: the error's text; empty for a PASS
    :ivar retryable: whether the same request may succeed later
    :ivar followed: whether the action wants to know when its answer did not
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
    """A job that runs now.

    :ivar job: the delivery that it was started for
    :ivar action: the action's name in the message
    :ivar seconds: how long it has been running
    :ivar limit: seconds after which it is answered in any case
    :ivar deliveries: number of deliveries that wait for the answer
    :ivar request_id: its id in the logs of the cloud
    :ivar doing: what it waits for, or empty
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
    """A job that has ended.

    :ivar job: the delivery that it was started for
    :ivar action: the name of the installed action; empty if there is none
    :ivar requested_action: the action's name in the message
    :ivar request_id: its id in the logs of the cloud
    :ivar request: the message's own fields; {} if it could not be read
    :ivar outcome: how it ended
    :ivar seconds: how long it took
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


class ReaperFinding(Protocol):
    """A finding of the reaper; ``str()`` names the resource."""

    @property
    def kind(self) -> str:
        """ "device" or "floating IP"."""

    @property
    def verdict(self) -> str:
        """ "kept", "unowned", "removed" or "failed"."""

    @property
    def reason(self) -> str:
        """Why, for a person."""


class Observer:
    """Does nothing; subclasses override the methods that they need.

    Called on the event loop, so it has to be quick.
    """

    def job_ended(self, ended: EndedJob) -> None:
        """A job has ended; called once if several deliveries share it."""

    def cloud_called(self, call: CloudCall) -> None:
        """A call of the cloud has ended."""

    def reaper_looked(self, findings: Sequence[ReaperFinding] | None) -> None:
        """The reaper has run.

        :param findings: what it found; None if the run failed
        """


def tell(method: Callable[[T], Any], what: T) -> None:
    """Tell an observer; what it raises is logged and harms nobody.

    :param method: the observer's
    :param what: what has happened
    """
    try:
        method(what)
    except BaseException:
        LOG.exception("an observer failed")
