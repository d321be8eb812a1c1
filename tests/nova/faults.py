"""Faults of the cloud that a test ends, and jobs that meet them."""

from dataclasses import replace
from typing import Any

from poolmgr import Job
from poolmgr.jobs.pool_manager import BlockingDelivery
from poolmgr.testing.openstack import Fault
from tests.nova.pools import FAST, SERVERS, TIMEOUT, Pool

SERVER = "127.0.0.1:4730"
#: The creations in flight at once: three quarters of [nova] calls_at_once.
MOST_CREATIONS = 24
#: Circuit breakers that do not try again before the test's hint.
RETRIES_ON_HINT = replace(
    FAST,
    breaker=(3600.0, 3600.0),
    quota=(3600.0, 3600.0),
)
QUOTA = "Quota exceeded for instances: Requested 1, but already used 5 of 5"


class Switch:
    """Faults that last until a test switches them off."""

    def __init__(self) -> None:
        self.on = True

    def __call__(self, _call: object) -> bool:
        return self.on

    def fault(self, **rule: Any) -> Fault:
        """Return a fault that is in force while the switch is on."""
        return Fault(where=self, times=None, **rule)


def quota_fault(switch: Switch) -> Fault:
    """Return the fault of a used up quota of servers."""
    body = {"forbidden": {"code": 403, "message": QUOTA}}
    return switch.fault(method="POST", path=SERVERS, status=403, body=body)


def submit(pool: Pool, action: str, number: int) -> BlockingDelivery:
    """Submit a job as from a job server."""
    job = Job(f"unique-{number}", f"H:host:{number}", SERVER)
    return pool.submit(action, job)


def results(jobs: list[BlockingDelivery]) -> list[object]:
    """Wait for the jobs; return PASS or FAIL of each."""
    return [job.future.result(TIMEOUT).answer["response"] for job in jobs]
