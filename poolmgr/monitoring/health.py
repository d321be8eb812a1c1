"""Whether a worker is healthy, and whether it is ready for jobs."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from poolmgr.cloud.breaker import Breaker
from poolmgr.text import one_line
from poolmgr.worker.service import Service

#: Seconds that the event loop has to answer.
LOOP_TIMEOUT = 2.0
#: Seconds for which every call of a service has to fail before it counts.
CLOUD_TIMEOUT = 60.0
_ASK_IT = "SIGUSR2 has the worker say why"


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
    overdue = service.manager.cloud.state.overdue
    if overdue:
        found = (
            f"none has come back from the cloud for {overdue:.0f} s longer "
            f"than one may take; {_ASK_IT}"
        )
        yield Check(False, "calls", found)


def readiness(
    service: Service, failing: Mapping[str, float]
) -> Iterator[Check]:
    """Whether a job that came now would be done.

    :param failing: the seconds for which all calls of a service have failed
    """
    draining = service.draining
    found = "drains: it takes no more jobs" if draining else "takes jobs"
    yield Check(not draining, "worker", found)
    yield _job_servers(service)
    yield _cloud(service, failing)
    full = _open_circuits(service.manager.cloud.capacity.breakers)
    found = "; ".join(full) or "no quota is known to be used up"
    yield Check(not full, "capacity", found)


def _event_loop(service: Service) -> Check:
    answered: Future[None] = Future()
    asked_at = time.monotonic()
    if not service.call(lambda: answered.set_result(None)):
        return Check(False, "event loop", "is not running")
    try:
        answered.result(LOOP_TIMEOUT)
    except TimeoutError:
        found = f"has not answered for {LOOP_TIMEOUT:g} s; {_ASK_IT}"
        return Check(False, "event loop", found)
    took = 1000 * (time.monotonic() - asked_at)
    return Check(True, "event loop", f"answered in {took:.1f} ms")


def _job_servers(service: Service) -> Check:
    links = service.links
    up = sum(link.state == "up" for link in links)
    found = f"registered with {up} of {len(links)}"
    if not up:
        reasons = {str(x.address): x.last_error for x in links if x.last_error}
        found += "".join(f"; {where}: {why}" for where, why in reasons.items())
    return Check(up > 0, "job servers", found)


def _cloud(service: Service, failing: Mapping[str, float]) -> Check:
    problems = [
        f"{name} has failed for {seconds:.0f} s"
        for name, seconds in failing.items()
        if seconds > CLOUD_TIMEOUT
    ]
    if service.manager.cloud.is_down:
        problems.append("no device can be made at present")
    problems += _open_circuits(service.manager.cloud.state.breakers)
    good = "answers, as far as it was asked"
    return Check(not problems, "cloud", "; ".join(problems) or good)


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
