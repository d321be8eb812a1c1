"""Health checks of a worker: is it alive, and is it ready for jobs?"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import NamedTuple

from poolmgr.cloud.breaker import Breaker
from poolmgr.text import one_line
from poolmgr.worker.service import Service

#: Seconds that the event loop has to react.
LOOP_TIMEOUT = 2.0
_ASK_IT = "SIGUSR2 logs what it is doing"


class Check(NamedTuple):
    """The result of a check.

    :ivar good: whether it passed
    :ivar what: the part that was checked
    :ivar found: the result in words
    """

    good: bool
    what: str
    found: str

    def __str__(self) -> str:
        return f"{'ok' if self.good else 'not ok'}: {self.what}: {self.found}"


def liveness(service: Service) -> Iterator[Check]:
    """Check whether the process works; restart it if a check fails.

    Do not call this on the worker's event loop.
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
    """Check whether the worker can do every kind of job now."""
    draining = service.draining
    found = "draining: it takes no more jobs" if draining else "takes jobs"
    yield Check(not draining, "worker", found)
    yield _job_servers(service)
    circuits = service.manager.cloud.circuits
    yield _circuits("cloud", circuits.calls, "answers")
    yield _circuits("capacity", circuits.capacity, "no quota is used up")


def _event_loop(service: Service) -> Check:
    reaction: Future[None] = Future()
    service.call(lambda: reaction.set_result(None))
    try:
        reaction.result(LOOP_TIMEOUT)
    except TimeoutError:
        found = f"does not answer within {LOOP_TIMEOUT:g} s; {_ASK_IT}"
        return Check(False, "event loop", found)
    return Check(True, "event loop", "answers")


def _job_servers(service: Service) -> Check:
    total = len(service.connections)
    found = [f"registered with {service.servers_up} of {total}"]
    for each in service.connections:
        if each.state != "up" and each.last_error:
            found.append(f"{each.address}: {each.last_error}")
    return Check(service.servers_up > 0, "job servers", "; ".join(found))


def _circuits(what: str, breakers: Mapping[str, Breaker], good: str) -> Check:
    """Check that no circuit is open.

    An open circuit fails the check until an attempt succeeds, even if the
    last attempt was long ago.
    """
    found = [
        f"circuit open for {name}: {one_line(breaker.reason)}"
        for name, breaker in breakers.items()
        if breaker.open
    ]
    return Check(not found, what, "; ".join(found) or good)
