"""A worker that is killed in the worst of moments loses nothing."""

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from poolmgr.gearman import LinkOptions
from poolmgr.inflight import InFlight
from poolmgr.testing.openstack import Fault
from poolmgr.testing.openstack.record import Call
from tests.chaos.audit import audit
from tests.chaos.field import Field, field
from tests.chaos.jobs import Asked, Clients
from tests.clouds import settings_for
from tests.relays import WORK_COMPLETE, relay

SERVERS, IPS, PORTS = "/servers", "/floatingips", "/ports"
MARK = f"{SERVERS}/[^/]+/metadata"

#: The calls of each action, as the moments in which a worker may die.
MOMENTS = [
    ("BUILD_DEVICE", "GET", f"{SERVERS}/detail", 0),  # looks for left-overs
    ("BUILD_DEVICE", "POST", SERVERS, 0),
    ("BUILD_DEVICE", "GET", f"{SERVERS}/detail", 1),  # waits for the boot
    ("BUILD_DEVICE", "GET", f"{SERVERS}/detail", 3),
    ("BUILD_DEVICE", "POST", MARK, 0),  # hands over
    ("BUILD_IP", "GET", IPS, 0),
    ("BUILD_IP", "POST", IPS, 0),
    ("ASSIGN_IP", "GET", f"{SERVERS}/detail", 0),
    ("ASSIGN_IP", "GET", IPS, 0),
    ("ASSIGN_IP", "GET", PORTS, 0),
    ("ASSIGN_IP", "PUT", f"{IPS}/[^/]+", 0),
    ("ASSIGN_IP", "GET", IPS, 1),  # reads it back
]


class Trap:
    """Kills the only worker in the middle of a call."""

    def __init__(self, made: Field) -> None:
        self._made = made
        self._once = threading.Lock()
        self.killed = threading.Event()

    def __call__(self, _call: Call) -> bool:
        if not self._once.acquire(blocking=False):
            return False
        victim = self._made.workers[0]
        self._made.kill(victim)
        self.killed.set()
        return True


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("action", "method", "path", "skip"), MOMENTS)
def test_a_worker_killed_in_a_call_leaves_one_thing_a_job(
    tmp_path: Path, action: str, method: str, path: str, skip: int, after: bool
) -> None:
    with field(tmp_path, workers=1, boot_time=0.5) as made:
        clients, job = prepared(made, action)
        trap = Trap(made)
        skipped = Skip(skip, trap)
        made.cloud.fault(
            Fault(
                method=method,
                path=path,
                where=skipped,
                reset=True,
                after=after,
            )
        )

        clients.do(job)

        assert trap.killed.is_set()
        assert job.passed
        in_flight = InFlight(list, [made.server.address], LinkOptions())
        found = audit(clients, settings_for(made.cloud), in_flight, sure=True)
        assert found.problems == []
        assert made.kills == 1


@pytest.mark.parametrize("action", ["BUILD_DEVICE", "BUILD_IP", "ASSIGN_IP"])
@pytest.mark.parametrize("arrives", [False, True])
def test_a_worker_killed_as_it_answers_leaves_one_thing_a_job(
    tmp_path: Path, action: str, arrives: bool
) -> None:
    armed = threading.Event()
    with field(tmp_path, workers=0, boot_time=0.2) as made:

        def answered(data: bytes) -> bytes | None:
            if WORK_COMPLETE not in data or not armed.is_set():
                return data
            armed.clear()
            made.kill(made.workers[0])
            return data if arrives else None

        with relay(made.server.address, answered) as between:
            made.start_worker(between.address).wait_for("registered")
            clients, job = prepared(made, action)
            armed.set()
            clients.do(job)

        assert made.kills == 1
        assert job.passed
        in_flight = InFlight(list, [made.server.address], LinkOptions())
        found = audit(clients, settings_for(made.cloud), in_flight, sure=True)
        assert found.problems == []


class Skip:
    """Lets some calls pass first."""

    def __init__(self, number: int, then: Callable[[Call], bool]) -> None:
        self._left = number
        self._then = then

    def __call__(self, call: Call) -> bool:
        self._left -= 1
        return self._left < 0 and self._then(call)


def prepared(made: Field, action: str) -> tuple[Clients, Asked]:
    """Clients, and a job of that action to be done."""
    clients = Clients(made.server.address, random.Random(1), 1)
    if action != "ASSIGN_IP":
        return clients, Asked(action, {})
    device, ip = Asked("BUILD_DEVICE", {}), Asked("BUILD_IP", {})
    for job in (device, ip):
        clients.do(job)
    assert device.answer
    assert ip.answer
    request = {"name": device.answer["name"], "ip": ip.answer["ip"]}
    return clients, Asked(action, request)
