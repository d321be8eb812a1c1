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
        self._sections: list[tuple[str, Collect]] = [("process", _process)]
        self._thread: threading.Thread | None = None

    def add(self, title: str, collect: Collect) -> None:
        """Add a section.

        :param collect: its lines, of any text; called on another thread, so
            it must wait for nothing
        """
        self._sections.append((title, collect))

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
        for title, collect in self._sections:
            yield f"== {title}"
            yield from (one_line(str(line)) for line in _collected(collect))
        yield from _threads()
        yield "==== end of the state report ===="


def _collected(collect: Collect) -> list[str]:
    """A section's lines, and why there are no more."""
    found: list[str] = []
    try:
        found.extend(collect())
    except Exception as error:
        found.append(f"not known: {type(error).__name__}: {error}")
    return found or ["none"]


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
