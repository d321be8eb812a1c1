"""The health of a worker: the checks of the pages, and the state report."""

import os
import platform
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from importlib.metadata import version
from typing import NamedTuple

from poolmgr.cloud.breaker import Breaker
from poolmgr.text import one_line
from poolmgr.worker.service import Service

#: Seconds that the event loop has to react.
LOOP_TIMEOUT = 2.0
_ASK_IT = "SIGUSR2 logs what it is doing"
_REPORT_THREAD = "poolmgr-report"


class CheckResult(NamedTuple):
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


def liveness(service: Service) -> Iterator[CheckResult]:
    """Check whether the process works; restart it if a check fails.

    Do not call this on the worker's event loop.
    """
    yield _event_loop(service)
    overdue = service.manager.cloud.calls.overdue
    if overdue:
        found = (
            f"all calls to the cloud hang, for {overdue:.0f} s longer "
            f"than allowed; {_ASK_IT}"
        )
        yield CheckResult(False, "calls", found)


def readiness(service: Service) -> Iterator[CheckResult]:
    """Check whether the worker can do every kind of job now."""
    draining = service.draining
    found = "draining: it takes no more jobs" if draining else "takes jobs"
    yield CheckResult(not draining, "worker", found)
    yield _job_servers(service)
    circuits = service.manager.cloud.circuits
    yield _circuits("cloud", circuits.calls, "answers")
    yield _circuits("capacity", circuits.capacity, "no quota is used up")


def _event_loop(service: Service) -> CheckResult:
    reaction: Future[None] = Future()
    service.call(lambda: reaction.set_result(None))
    try:
        reaction.result(LOOP_TIMEOUT)
    except TimeoutError:
        found = f"does not answer within {LOOP_TIMEOUT:g} s; {_ASK_IT}"
        return CheckResult(False, "event loop", found)
    return CheckResult(True, "event loop", "answers")


def _job_servers(service: Service) -> CheckResult:
    total = len(service.connections)
    found = [f"registered with {service.servers_up} of {total}"]
    for each in service.connections:
        if each.state != "up" and each.last_error:
            found.append(f"{each.address}: {each.last_error}")
    return CheckResult(service.servers_up > 0, "job servers", "; ".join(found))


def _circuits(
    what: str, breakers: Mapping[str, Breaker], good: str
) -> CheckResult:
    """Check that no circuit is open.

    An open circuit fails the check until an attempt succeeds, even if the
    last attempt was long ago.
    """
    found = [
        f"circuit open for {name}: {one_line(breaker.reason)}"
        for name, breaker in breakers.items()
        if breaker.open
    ]
    return CheckResult(not found, what, "; ".join(found) or good)


def write_report(
    service: Service | None, descriptors: Callable[[], Iterable[int]]
) -> None:
    """Write the state report, unless one is being written.

    It is written by a thread of its own, so it works while the event loop
    hangs.

    :param service: the worker; None if it has not started
    :param descriptors: returns the descriptors of the files to write to
    """

    # Without logging, whose lock a thread that hangs may hold.
    def write() -> None:
        lines = list(map(one_line, _report(service)))
        for file in descriptors():
            with suppress(OSError):
                # Write line by line, so that log lines stay whole.
                for line in lines:
                    os.write(file, f"{line}\n".encode())

    if all(each.name != _REPORT_THREAD for each in threading.enumerate()):
        threading.Thread(
            target=write, name=_REPORT_THREAD, daemon=True
        ).start()


def _report(service: Service | None) -> Iterator[str]:
    yield time.strftime("==== state report %Y-%m-%d %H:%M:%S ====")
    python = platform.python_version()
    yield f"poolmgr {version('poolmgr')}, Python {python}, pid {os.getpid()}"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    yield f"{threading.active_count()} threads, peak memory {memory} MiB"
    if service is not None:
        yield service.status
        yield from map(str, liveness(service))
        yield from map(str, readiness(service))
        yield "== running jobs"
        for each in service.manager.running():
            fields = {"action": "", **vars(each.job), **vars(each)}
            fields["seconds"] = round(each.seconds, 1)
            del fields["job"]
            yield " ".join(f"{name}={fields[name]}" for name in fields)
    yield "== threads"
    frames = sys._current_frames()
    for thread in threading.enumerate():
        if thread.ident in frames:
            yield f"-- {thread.name}"
            stack = traceback.format_stack(frames[thread.ident])
            yield from "".join(stack).splitlines()
    yield "==== end of the state report ===="
