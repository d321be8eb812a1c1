"""A report of what the process is doing, for a person to read."""

import contextlib
import importlib.metadata
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator

from poolmgr.text import one_line
from poolmgr.worker.service import Service

#: Most calls of a stack that are shown, the innermost.
_DEPTH = 60


class Report:
    """Sections of lines, and every thread with its stack.

    It is written by a thread of its own, so it comes out when the event loop
    hangs.

    :param descriptors: the files it is written to
    :ivar service: the worker that it is about; None while there is none
    """

    def __init__(self, descriptors: Callable[[], Iterable[int]]) -> None:
        self.service: Service | None = None
        self._descriptors = descriptors
        self._thread: threading.Thread | None = None

    def start(self, *_signal: object) -> None:
        """Write it on a thread, unless one is being written."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self.write, name="poolmgr-report", daemon=True
            )
            self._thread.start()

    def write(self) -> None:
        """Write it."""
        lines = list(self.lines())
        for file in self._descriptors():
            with contextlib.suppress(OSError):
                # Each line at once, so that the log's fall between them.
                for line in lines:
                    os.write(file, f"{line}\n".encode())

    def lines(self) -> Iterator[str]:
        """Its lines, without their ends."""
        at = time.strftime("%Y-%m-%d %H:%M:%S")
        yield f"==== state report {at} ===="
        yield from _section("process", _process())
        if self.service is not None:
            yield from _section("job servers", _job_servers(self.service))
            yield from _section("jobs", _slots(self.service))
            yield from _section("open circuits", _open_circuits(self.service))
            yield from _section("running jobs", _jobs(self.service))
        yield from _section("threads", _threads())
        yield "==== end of the state report ===="


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    yield f"== {title}"
    try:
        found = list(lines) or ["none"]
    except Exception as error:  # the worker goes on meanwhile
        found = [f"not known: {type(error).__name__}: {error}"]
    yield from map(one_line, found)


def _process() -> Iterator[str]:
    yield f"poolmgr {importlib.metadata.version('poolmgr')}"
    yield f"Python {sys.version}"
    yield f"pid {os.getpid()}"
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        wanted = ("VmRSS:", "VmHWM:", "Threads:")
        for line in status:
            if line.startswith(wanted):
                yield " ".join(line.split())
    with contextlib.suppress(OSError):
        yield f"open files: {len(os.listdir('/proc/self/fd'))}"


def _threads() -> Iterator[str]:
    frames = sys._current_frames()
    for thread in threading.enumerate():
        if thread.ident in frames:
            yield f"-- {thread.name} ({thread.ident})"
            stack = traceback.extract_stack(frames[thread.ident], _DEPTH)
            yield from "".join(stack.format()).splitlines()


def _job_servers(service: Service) -> Iterator[str]:
    now = time.time()
    for each in service.connections:
        yield (
            f"{each.address} {each.state} for {now - each.since:.1f} s, "
            f"reconnects={each.reconnects}, "
            f"last error: {each.last_error or 'none'}"
        )


def _slots(service: Service) -> Iterator[str]:
    slots, settings = service.slots, service.settings
    yield f"long: {slots.long} of {settings.long_jobs} running"
    yield f"short: {slots.short} of {settings.short_jobs} running"
    yield f"held: {slots.held} of {settings.held_jobs} waiting"


def _open_circuits(service: Service) -> Iterator[str]:
    for name, breaker in service.breakers.items():
        if breaker.open:
            yield f"{name}: {breaker.reason}"


def _jobs(service: Service) -> Iterator[str]:
    for each in service.manager.running():
        job = each.job
        yield (
            f"action={each.action} "
            f"unique={job.unique or '-'} "
            f"handle={job.handle or '-'} "
            f"server={job.server or '-'} "
            f"running={each.seconds:.1f}s limit={each.limit:g}s "
            f"deliveries={each.deliveries} request={each.request_id} "
            f"doing={each.doing or '-'}"
        )
