"""Whether a worker is healthy, and whether it is ready for jobs."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from poolmgr.cloud.breaker import Breaker
from poolmgr.text import one_line
from poolmgr.worker.service import Service

#: Seconds that the event loop has to answer.
LOOP_TIMEOUT = 2.0
_ASK_IT = "SIGUSR2 logs what it is doing"


@dataclass(frozen=True)
class Check:
    """The result of one check.

    :ivar good: whether it passed
    :ivar what: what was checked
    :ivar found: what the check found, in words
    """

    good: bool
    what: str
    found: str

    def __str__(self) -> str:
        return f"{'ok' if self.good else 'not ok'}: {self.what}: {self.found}"


def liveness(service: Service) -> Iterator[Check]:
    """Whether the process works at all; if not, restart it.

    To be asked by any thread but the event loop's own.
    """
    yield _event_loop(service)
    overdue = service.manager.cloud.calls.overdue
    if overdue:
        found = (
            f"all calls of the cloud hang, for {overdue:.0f} s longer "
            f"than allowed; {_ASK_IT}"
        )
        yield Check(False, "calls", found)


def readiness(service: Service) -> Iterator[Check]:
    """Whether a job that came now would be done."""
    draining = service.draining
    found = "draining: it takes no more jobs" if draining else "takes jobs"
    yield Check(not draining, "worker", found)
    yield _job_servers(service)
    circuits = service.manager.cloud.circuits
    down = _open_circuits(circuits.calls)
    found = "; ".join(down) or "answers"
    yield Check(not down, "cloud", found)
    full = _open_circuits(circuits.capacity)
    found = "; ".join(full) or "no quota is used up"
    yield Check(not full, "capacity", found)


def _event_loop(service: Service) -> Check:
    answered: Future[None] = Future()
    if not service.call(lambda: answered.set_result(None)):
        return Check(False, "event loop", "is not running")
    try:
        answered.result(LOOP_TIMEOUT)
    except TimeoutError:
        found = f"does not answer within {LOOP_TIMEOUT:g} s; {_ASK_IT}"
        return Check(False, "event loop", found)
    return Check(True, "event loop", "answers")


def _job_servers(service: Service) -> Check:
    connections = service.connections
    up = sum(each.state == "up" for each in connections)
    found = f"registered with {up} of {len(connections)}"
    if not up:
        reasons = {
            str(each.address): each.last_error
            for each in connections
            if each.last_error
        }
        found += "".join(f"; {where}: {why}" for where, why in reasons.items())
    return Check(up > 0, "job servers", found)


def _open_circuits(breakers: Mapping[str, Breaker]) -> list[str]:
    """Why each open circuit breaker opened.

    It stays open until an attempt succeeds, however long ago the last one
    was: nothing better is known.
    """
    return [
        f"circuit open for {name}: {one_line(breaker.reason)}"
        for name, breaker in breakers.items()
        if breaker.open
    ]
