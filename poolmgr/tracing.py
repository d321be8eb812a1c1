"""What the present thread works for, so that logs and clouds can be told.

A request id is made for each job, and for whatever else calls the cloud.  It
is in the job's log lines, and drivers send it along: one id finds all that was
done for a job, here and in the cloud's own logs.
"""

from contextvars import ContextVar, Token
from dataclasses import dataclass, field

from poolmgr.ownership import Job, new_uuid


def new_request_id() -> str:
    """An id of the form that OpenStack's services take from each other.

    https://specs.openstack.org/openstack/oslo-specs/specs/pike/global-req-id.html
    """
    return f"req-{new_uuid()}"


@dataclass(slots=True)
class Trail:
    """What is worked for.

    :ivar action: the job's action, as the message has it; empty for what is
        no job, as the reaper's looks are
    :ivar job: the delivery that the work was begun for
    :ivar request_id: finds it in the logs of the cloud
    """

    action: str = ""
    job: Job | None = None
    request_id: str = field(default_factory=new_request_id)


class Following:
    """Has the present thread work for something while the block runs."""

    __slots__ = ("_token", "_trail")

    def __init__(self, trail: Trail) -> None:
        self._trail = trail

    def __enter__(self) -> Trail:
        self._token: Token[Trail | None] = _current.set(self._trail)
        return self._trail

    def __exit__(self, *error: object) -> None:
        _current.reset(self._token)


def current() -> Trail | None:
    """What the present thread works for, None if for nothing in particular."""
    return _current.get()


_current: ContextVar[Trail | None] = ContextVar("trail", default=None)
