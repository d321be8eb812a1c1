"""A cloud in trouble for as long as a test wants, and jobs that meet it."""

from dataclasses import replace
from typing import Any

from poolmgr import Job
from poolmgr.jobs.pool_manager import BlockingDelivery
from poolmgr.testing.openstack import Fault
from tests.nova.pools import FAST, SERVERS, TIMEOUT, Pool

SERVER = "127.0.0.1:4730"
#: Creations that may be under way when one is refused: three quarters of
#: [nova] calls_at_once.
AT_ONCE = 24
#: Nothing that failed goes on by itself: a test gives a hint.
NO_RETRIES = replace(
    FAST,
    breaker=(3600.0, 3600.0),
    quota=(3600.0, 3600.0),
)
QUOTA = "Quota exceeded for instances: Requested 1, but already used 5 of 5"


class Switch:
    """What is wrong with a cloud as long as it is on."""

    def __init__(self) -> None:
        self.on = True

    def __call__(self, _call: object) -> bool:
        return self.on

    def fault(self, **rule: Any) -> Fault:
        """A fault that lasts so long."""
        return Fault(where=self, times=None, **rule)


def full(switch: Switch) -> Fault:
    """No server more, as long as the switch is on."""
    body = {"forbidden": {"code": 403, "message": QUOTA}}
    return switch.fault(method="POST", path=SERVERS, status=403, body=body)


def submit(pool: Pool, action: str, number: int) -> BlockingDelivery:
    """A job that came from a job server."""
    job = Job(f"unique-{number}", f"H:host:{number}", SERVER)
    return pool.submit(action, job)


def results(jobs: list[BlockingDelivery]) -> list[object]:
    """Whether each job is a PASS or a FAIL, at its end."""
    return [job.future.result(TIMEOUT).answer["response"] for job in jobs]
