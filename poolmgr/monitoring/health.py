"""Whether a worker is healthy, and whether it is ready for jobs."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from poolmgr.cloud.breaker import Breaker
from poolmgr.text import one_line
from poolmgr.worker.state import State

#: Seconds that the event loop has to answer.
LOOP_TIMEOUT = 2.0
#: Seconds for which every call of a service has to fail before it counts.
CLOUD_TIMEOUT = 60.0


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


class LoopProbe:
    """Asks the worker's event loop for a sign of life; from any thread.

    :param call: has the loop call a function; False if no loop is running
    """

    def __init__(self, call: Callable[[Callable[[], None]], bool]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._asked_at = 0.0
        self._answered: threading.Event | None = None

    def check(self) -> Check:
        """Ask, and wait for the answer for at most 2 seconds."""
        with self._lock:
            # Only one question at a time: a loop that hangs collects no more.
            if self._answered is None or self._answered.is_set():
                self._asked_at = time.monotonic()
                self._answered = threading.Event()
                if not self._call(self._answered.set):
                    self._answered = None
                    return Check(False, "event loop", "is not running")
            asked_at, answered = self._asked_at, self._answered
        good = answered.wait(LOOP_TIMEOUT)
        seconds = time.monotonic() - asked_at
        found = f"answered in {seconds * 1000:.1f} ms"
        if not good:
            found = (
                f"has not answered for {seconds:.1f} s; SIGUSR2 has the "
                "worker say why"
            )
        return Check(good, "event loop", found)


def liveness(state: State, probe: LoopProbe) -> Iterator[Check]:
    """Whether the process works at all; if not, restart it."""
    yield probe.check()
    overdue = state.driver.overdue
    if overdue:
        found = (
            f"none has come back from the cloud for {overdue:.0f} s longer "
            "than one may take; SIGUSR2 has the worker say why"
        )
        yield Check(False, "calls", found)


def readiness(state: State, services: Mapping[str, float]) -> Iterator[Check]:
    """Whether a job that came now would be done.

    :param services: each service of the cloud that was called, and
        the seconds for which all calls of it have failed
    """
    draining = state.service.draining
    found = "drains: it takes no more jobs" if draining else "takes jobs"
    yield Check(not draining, "worker", found)
    yield _job_servers(state)
    yield _cloud(state, services)
    full = _open_circuits(state.capacity)
    found = "; ".join(full) or "no quota is known to be used up"
    yield Check(not full, "capacity", found)


def _job_servers(state: State) -> Check:
    links = state.links
    up = sum(link.state == "up" for link in links)
    found = f"registered with {up} of {len(links)}"
    if not up:
        reasons = {str(x.address): x.last_error for x in links if x.last_error}
        found += "".join(f"; {where}: {why}" for where, why in reasons.items())
    return Check(up > 0, "job servers", found)


def _cloud(state: State, services: Mapping[str, float]) -> Check:
    problems = [
        f"{service} has failed for {seconds:.0f} s"
        for service, seconds in services.items()
        if seconds > CLOUD_TIMEOUT
    ]
    if state.cloud_is_down:
        problems.append("no device can be made at present")
    problems += _open_circuits(state.driver.breakers)
    if problems:
        return Check(False, "cloud", "; ".join(problems))
    if not services:
        return Check(True, "cloud", "no call was reported so far")
    return Check(True, "cloud", "answers, as far as it was asked")


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
