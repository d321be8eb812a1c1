"""The state report, which SIGUSR2 writes to the worker's log."""

import contextlib
import importlib.metadata
import os
import platform
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator

from poolmgr.monitoring.health import liveness, readiness
from poolmgr.text import one_line
from poolmgr.worker.service import Service


class Report:
    """Writes the state report.

    It uses a thread of its own, so it works while the event loop hangs.

    :param descriptors: returns the descriptors of the files to write to
    :ivar service: the worker; None until it has started
    """

    def __init__(self, descriptors: Callable[[], Iterable[int]]) -> None:
        self.service: Service | None = None
        self._descriptors = descriptors
        self._thread: threading.Thread | None = None

    def start(self, *_signal: object) -> None:
        """Write the report, unless one is being written."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._write, name="poolmgr-report", daemon=True
            )
            self._thread.start()

    def _write(self) -> None:
        lines = list(map(one_line, self._lines()))
        for file in self._descriptors():
            with contextlib.suppress(OSError):
                # Write line by line, so that log lines stay whole.
                for line in lines:
                    os.write(file, f"{line}\n".encode())

    def _lines(self) -> Iterator[str]:
        yield time.strftime("==== state report %Y-%m-%d %H:%M:%S ====")
        version = importlib.metadata.version("poolmgr")
        python = platform.python_version()
        yield f"poolmgr {version}, Python {python}, pid {os.getpid()}"
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        yield f"{threading.active_count()} threads, peak memory {memory} MiB"
        if self.service is not None:
            yield self.service.status
            yield from map(str, liveness(self.service))
            yield from map(str, readiness(self.service))
            yield "== running jobs"
            for each in self.service.manager.running():
                fields = {"action": "", **vars(each.job), **vars(each)}
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
