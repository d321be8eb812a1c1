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

Collect = Callable[[], Iterable[str]]

#: Most calls of a stack that are shown, the innermost.
_DEPTH = 60


class Report:
    """Sections of lines, and every thread with its stack.

    It is written by a thread of its own, so it comes out when the event loop
    hangs.

    :param descriptors: the files it is written to
    """

    def __init__(self, descriptors: Callable[[], Iterable[int]]) -> None:
        self._descriptors = descriptors
        self._sections: dict[str, Collect] = {"process": _process}
        self._thread: threading.Thread | None = None

    def add(self, title: str, collect: Collect) -> None:
        """Add a section.

        :param collect: its lines, of any text; called on another thread, so
            it must wait for nothing
        """
        self._sections[title] = collect

    def describe(self, service: Service) -> None:
        """Add the sections of a worker."""
        self.add("job servers", lambda: _job_servers(service))
        self.add("jobs", lambda: _load(service))
        self.add("open circuits", lambda: _open_circuits(service))
        self.add("running jobs", lambda: _jobs(service))

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
        for title, collect in self._sections.items():
            yield f"== {title}"
            yield from (one_line(str(line)) for line in _collected(collect))
        yield "== threads"
        yield from map(one_line, _threads())
        yield "==== end of the state report ===="


def _collected(collect: Collect) -> list[str]:
    try:
        return list(collect()) or ["none"]
    except Exception as error:
        return [f"not known: {type(error).__name__}: {error}"]


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
    for each in service.links:
        yield (
            f"{each.address} {each.state} for {now - each.since:.1f} s, "
            f"reconnects={each.reconnects}, "
            f"last error: {each.last_error or 'none'}"
        )


def _load(service: Service) -> Iterator[str]:
    load, settings = service.load, service.settings
    yield f"long: {load.long} of {settings.long_jobs} running"
    yield f"short: {load.short} of {settings.short_jobs} running"
    yield f"held: {load.held} of {settings.held_jobs} waiting"


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
