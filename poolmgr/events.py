"""What happens in a process, as plain values, and who is told of it.

An :class:`Observer` makes metrics or traces of them; nothing here knows a
library for either.
"""

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
    """A call of the cloud that is over.

    :ivar service: "compute", "network", "image" or "identity"; another driver
        has others, a few
    :ivar method: of HTTP, or what is like it
    :ivar status: of HTTP; None when there was no answer
    :ivar seconds: how long it took
    """

    service: str
    method: str
    status: int | None
    seconds: float

    @property
    def is_answer(self) -> bool:
        """Whether the service did its work, were it to say no."""
        return self.status is not None and self.status < 500


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
    :ivar action: the action's name, as the message has it
    :ivar seconds: how long it has been running
    :ivar limit: seconds after which it is answered in any case
    :ivar deliveries: how many wait for its answer
    :ivar request_id: finds it in the logs of the cloud
    :ivar doing: what it waits for, in words; empty if for nothing
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
    :ivar action: the name of its action, as it is installed; empty if the
        message names none that can be used
    :ivar requested_action: the action's name, as the message has it
    :ivar request_id: finds it in the logs of the cloud
    :ivar request: the message's own fields; {} if it could not be read
    :ivar outcome: its answer, and why it is a FAIL
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
        """Name and addresses of what the job was about, if they are known."""
        fields = {**self.request, **self.outcome.added}
        return {
            name: one_line(value)
            for name in _ABOUT
            if isinstance(value := fields.get(name), str)
        }


class ReaperFinding(Protocol):
    """What the reaper has found of one thing; ``str()`` names it."""

    @property
    def kind(self) -> str:
        """What it is: "device" or "floating IP"."""

    @property
    def verdict(self) -> str:
        """What becomes of it: "kept", "unowned", "removed" or "failed"."""

    @property
    def reason(self) -> str:
        """Why, for a person."""


class Observer:
    """Does nothing; subclasses override what they want to know.

    Called on the event loop, so it has to be quick.
    """

    def job_ended(self, ended: EndedJob) -> None:
        """A job has its answer; one that several deliveries share, once."""

    def cloud_called(self, call: CloudCall) -> None:
        """The cloud was called."""

    def reaper_looked(self, findings: Sequence[ReaperFinding] | None) -> None:
        """The reaper has looked.

        :param findings: what it found, and what became of each; None when it
            could not be told
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
