"""What a worker tells the service manager that started it."""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

from poolmgr.worker.service import Service
from poolmgr.worker.systemd import Notifier

#: Seconds that a worker without a job server waits for one before it counts
#: as started.  For ever would hold up the machine's boot, or have the worker
#: killed and started again, for what it will get over by itself.
GRACE = 10.0

#: Seconds between two looks, at the most; and until it has started.
_INTERVAL = 5.0
_IMPATIENT = 0.1
#: Seconds that the manager is asked to add while the worker drains.
_EXTENSION = 30.0


class Supervision:
    """Tells that the worker is ready, alive, busy, draining.

    :param notifier: where to tell it; None when nobody wants to know
    """

    def __init__(self, notifier: Notifier | None) -> None:
        self._notifier = notifier
        # Whoever has been told that it is ready may ask for a reload at once.
        self._lock = threading.Lock()
        self._ready = False
        self._stopping = False

    @classmethod
    def of_environment(cls) -> "Supervision":
        """For whoever the environment names."""
        return cls(Notifier.of(os.environ))

    def starting(self, patience: float) -> None:
        """It holds its settings against the cloud.

        :param patience: seconds that this may take
        """
        if self._notifier is not None:
            self._notifier.send(
                "STATUS=checking the settings",
                _extension(patience + GRACE + _EXTENSION),
            )

    def stopping(self, drain: Callable[[], None]) -> Callable[[], None]:
        """Tell it, before what has the worker drain."""

        def told() -> None:
            self._stopping = True
            if self._notifier is not None:
                self._notifier.send("STOPPING=1", _extension())
            drain()

        return told

    def reloading(self, reload: Callable[[], None]) -> Callable[[], None]:
        """Tell it, around what reads the configuration again."""

        def told() -> None:
            with self._lock:
                is_up = self._ready and not self._stopping
            if self._notifier is None or not is_up:
                reload()
                return
            self._notifier.send("RELOADING=1", _now())
            try:
                reload()
            finally:
                # The loop repeats it if it is not taken.
                self._ready = self._notifier.send("READY=1")

        return told

    @contextlib.asynccontextmanager
    async def watching(self, service: Service) -> AsyncIterator[None]:
        """Tell how the service is, as long as the block goes on.

        It is done in the loop, so a loop that hangs gives no sign of life.
        """
        if self._notifier is None:
            yield
            return
        telling = asyncio.create_task(self._tell(self._notifier, service))
        try:
            yield
        finally:
            telling.cancel()

    async def _tell(self, notifier: Notifier, service: Service) -> None:
        began = time.monotonic()
        longest = min(_INTERVAL, (notifier.watchdog or 3600.0) / 3)
        while True:
            waited = time.monotonic() - began >= GRACE
            lines = list(self._lines(service, waited))
            with self._lock:
                if notifier.send(*lines) and "READY=1" in lines:
                    self._ready = True
            await asyncio.sleep(
                longest if self._ready else min(longest, _IMPATIENT)
            )

    def _lines(self, service: Service, waited: bool) -> Iterator[str]:
        yield "WATCHDOG=1"
        yield f"STATUS={status(service, self._stopping)}"
        if self._stopping:
            yield _extension()
        elif not self._ready and (waited or _servers_up(service)):
            yield "READY=1"


def status(service: Service, stopping: bool = False) -> str:
    """How a worker is, in a line for a person."""
    load, settings, links = service.load, service.settings, service.links
    said = [
        "draining" if stopping else "",
        f"{load.long} of {settings.long_jobs} builds",
        f"{load.short} of {settings.short_jobs} short jobs running",
        f"{load.held} builds waiting" if load.held else "",
        f"{_servers_up(service)} of {len(links)} job servers",
    ]
    return ", ".join(filter(None, said))


def _servers_up(service: Service) -> int:
    return sum(link.state == "up" for link in service.links)


def _extension(seconds: float = _EXTENSION) -> str:
    return f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}"


def _now() -> str:
    return f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"
