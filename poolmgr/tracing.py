"""What the code that runs works for, and what it is doing.

A request id is made for each job, and for whatever else calls the cloud.  It
is in the job's log lines, and drivers send it along: one id finds all that was
done for a job, here and in the cloud's own logs.
"""

import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from poolmgr.errors import PoolmgrError
from poolmgr.ownership import Job


def new_request_id() -> str:
    """Make an id of the form that OpenStack's services take from each other.

    https://specs.openstack.org/openstack/oslo-specs/specs/pike/global-req-id.html
    """
    return f"req-{uuid.uuid4()}"


@dataclass(slots=True, eq=False)
class RequestContext:
    """One piece of work, mostly a job.

    :ivar action: the job's action, as the message has it; empty for what is
        no job, as the reaper's work is
    :ivar job: the delivery that the work was begun for
    :ivar request_id: finds it in the logs of the cloud
    :ivar urgent: whether its calls of the cloud go before others
    :ivar end: when it has to be done, by the loop's clock: then a pause that
        lasts longer than that is not begun
    :ivar abandoned: whether nobody waits for it any more and another worker
        may have its job: then what it has made is left as it is
    :ivar left: why what was made after the work was cancelled could not be
        deleted; empty if nothing is left
    :ivar doing: what it waits for, in words: whoever ends the wait says it
    :ivar trouble: the last failure of what it repeats; None when nothing
        fails
    """

    action: str = ""
    job: Job | None = None
    request_id: str = field(default_factory=new_request_id)
    urgent: bool = False
    end: float = math.inf
    abandoned: bool = False
    left: str = ""
    doing: str = ""
    trouble: PoolmgrError | None = None


def current() -> RequestContext | None:
    """Return what the running code works for, None if nothing particular."""
    return _current.get()


@contextmanager
def bound(context: RequestContext) -> Iterator[RequestContext]:
    """Have the block, and the tasks that it starts, work for something."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


_current: ContextVar[RequestContext | None] = ContextVar(
    "poolmgr_request", default=None
)
