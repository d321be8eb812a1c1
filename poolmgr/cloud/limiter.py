"""How much a cloud is asked: so many verbs at once, so many requests a second.

In both, short jobs go before builds.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar

from poolmgr.tracing import current


class Watch:
    """Since when a call owes an answer: since its last request.

    :param clock: tells the time

    :ivar since: when it began, or sent its last request; infinite while it
        waits at the rate limiter
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.since = clock()

    def pause(self) -> None:
        """Stop, for a request has to wait for its turn."""
        self.since = math.inf

    def restart(self) -> None:
        """Start anew, for a request that is about to be sent."""
        self.since = self._clock()


#: The watch over the call that the present thread makes.
WATCH: ContextVar[Watch | None] = ContextVar("poolmgr_watch", default=None)


class RateLimiter:
    """A token bucket that threads wait at; urgent requests go first.

    After a quiet time as many may come together as a second allows.

    :param per_second: requests a second; 0 for any number
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._tokens = self._most = max(1.0, per_second)
        self._filled = time.monotonic()
        self._changed = threading.Condition()
        self._urgent = 0

    def acquire(self) -> None:
        """Block until a request may be sent."""
        watch = WATCH.get()
        if self._per_second:
            if watch is not None:
                watch.pause()
            context = current()
            self._wait(context is not None and context.urgent)
        if watch is not None:
            watch.restart()

    def _wait(self, urgent: bool) -> None:
        with self._changed:
            self._urgent += urgent
            while (pause := self._pause(urgent)) > 0:
                self._changed.wait(pause)
            self._urgent -= urgent
            self._tokens -= 1.0
            self._changed.notify_all()

    def _pause(self, urgent: bool) -> float:
        """Return the seconds until it is worth looking again; 0 for a go."""
        now = time.monotonic()
        gained = (now - self._filled) * self._per_second
        self._tokens = min(self._most, self._tokens + gained)
        self._filled = now
        missing = max(0.0, 1.0 - self._tokens) / self._per_second
        if self._urgent and not urgent:
            return max(missing, 1.0 / self._per_second)
        return missing


class Slots:
    """Places for verbs that run at once.

    A quarter of the places is for urgent verbs alone, so that none of them
    waits for builds that the cloud is slow to take.

    :param at_once: number of places
    """

    def __init__(self, at_once: int) -> None:
        self._all = asyncio.Semaphore(at_once)
        self._builds = asyncio.Semaphore(max(1, at_once - at_once // 4))

    async def acquire(self, urgent: bool) -> None:
        """Wait for a place."""
        if urgent:
            await self._all.acquire()
            return
        await self._builds.acquire()
        try:
            await self._all.acquire()
        except asyncio.CancelledError:
            self._builds.release()
            raise

    def release(self, urgent: bool) -> None:
        """Give a place back."""
        self._all.release()
        if not urgent:
            self._builds.release()
