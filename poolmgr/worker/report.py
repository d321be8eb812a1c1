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
from poolmgr.threads import NoThreads, start_daemon

Collect = Callable[[], Iterable[str]]

#: Seconds that a section may take: somebody may hold its lock for ever.
PATIENCE = 2.0
#: Most calls of a stack that are shown, the innermost.
_DEPTH = 60


class Report:
    """Sections of lines, and every thread with its stack.

    It must come out when the process is stuck, so it waits for nothing for
    long: neither for the event loop nor, in a section, for a lock.

    :param descriptors: the files it is written to
    """

    def __init__(self, descriptors: Callable[[], Iterable[int]]) -> None:
        self._descriptors = descriptors
        self._sections: list[tuple[str, Collect]] = [("process", _process)]

    def add(self, title: str, collect: Collect) -> None:
        """Add a section.

        :param collect: its lines, of any text; called on another thread
        """
        self._sections.append((title, collect))

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
        for title, collect in self._sections:
            yield f"== {title}"
            yield from (one_line(str(line)) for line in _in_time(collect))
        yield from _threads()
        yield "==== end of the state report ===="


def _in_time(collect: Collect) -> list[str]:
    """A section's lines, and why there are no more."""
    found: list[str] = []
    problem = [f"not known within {PATIENCE:g} s: see what the threads do"]

    def work() -> None:
        try:
            found.extend(collect())
            problem.clear()
        except Exception as error:
            problem[:] = [f"not known: {type(error).__name__}: {error}"]

    try:
        start_daemon("poolmgr-report", work).join(PATIENCE)
    except NoThreads:
        work()
    return [*found, *problem] or ["none"]


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
    """All threads; those that do the same are shown together."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    alike: dict[tuple[str, ...], list[str]] = {}
    for ident, frame in sys._current_frames().items():
        calls = traceback.extract_stack(frame, _DEPTH)
        stack = tuple("".join(calls.format()).splitlines())
        name = f"{one_line(names.get(ident, '?'), 80)} ({ident})"
        alike.setdefault(stack, []).append(name)
    total = sum(map(len, alike.values()))
    yield f"== threads: {total}"
    for stack, those in alike.items():
        yield f"-- {len(those)}:"
        yield from those
        yield from map(one_line, stack)
