"""The request context: which work the running code belongs to.

Each job, and all other work that calls the cloud, has a request id. It is in
the log lines of the job, and drivers send it with each request, so that one
id finds all actions for a job, in poolmgr's log and in the cloud's logs.
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
    """Return a new request id, in the form that OpenStack services accept.

    https://specs.openstack.org/openstack/oslo-specs/specs/pike/global-req-id.html
    """
    return f"req-{uuid.uuid4()}"


@dataclass(slots=True, eq=False)
class RequestContext:
    """A piece of work, mostly a job.

    :ivar action: the action, as the message names it; empty if the work is
        no job, as for the reaper
    :ivar job: the delivery that started the work
    :ivar request_id: identifies the work in the logs of the cloud
    :ivar urgent: whether its cloud calls have priority
    :ivar end: the deadline, in the event loop's time; no retry waits longer
    :ivar abandoned: whether another worker may already have the job; then
        the work leaves its resources as they are
    :ivar doing: the current step, for timeout errors
    :ivar trouble: the last failure of the call that is being retried, or None
    """

    action: str = ""
    job: Job | None = None
    request_id: str = field(default_factory=new_request_id)
    urgent: bool = False
    end: float = math.inf
    abandoned: bool = False
    doing: str = ""
    trouble: PoolmgrError | None = None


_current: ContextVar[RequestContext | None] = ContextVar(
    "poolmgr_request", default=None
)

#: Returns the context of the running code, or None.
current = _current.get


@contextmanager
def bound(context: RequestContext) -> Iterator[RequestContext]:
    """Run a block, and the tasks that it starts, in a context."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
