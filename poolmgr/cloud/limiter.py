"""How much a cloud is asked: so many verbs at once, so many requests a second.

In both, short jobs go first.
"""

import asyncio
import threading
import time
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from poolmgr.tracing import current


class Waits(Protocol):
    """Somebody who wants to know that a request waits for its turn."""

    def pause(self) -> None:
        """The wait begins."""

    def resume(self) -> None:
        """The wait is over."""


#: The call that the present thread makes.
CALL: ContextVar[Waits | None] = ContextVar("poolmgr_call", default=None)


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
        call = CALL.get()
        if call is not None:
            call.pause()
        if self._per_second:
            context = current()
            self._wait(context is not None and context.urgent)
        if call is not None:
            call.resume()

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


@dataclass(eq=False, slots=True)
class _Waiter:
    urgent: bool
    granted: "asyncio.Future[None]"


class Slots:
    """Places for verbs that run at once; urgent ones go first.

    A quarter of the places is for urgent verbs alone, so that none of them
    waits for builds that the cloud is slow to take.

    :param at_once: number of places
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._free_for_others = max(1, at_once - at_once // 4)
        self._queues: dict[bool, deque[_Waiter]] = {
            True: deque(),
            False: deque(),
        }

    async def acquire(self, urgent: bool) -> None:
        """Wait for a place."""
        future = asyncio.get_running_loop().create_future()
        waiter = _Waiter(urgent, future)
        self._queues[urgent].append(waiter)
        self._grant()
        try:
            await future
        except asyncio.CancelledError:
            if waiter in self._queues[urgent]:
                self._queues[urgent].remove(waiter)
            else:
                self.release(urgent)
            raise

    def release(self, urgent: bool) -> None:
        """Give a place back."""
        self._free += 1
        self._free_for_others += not urgent
        self._grant()

    def _grant(self) -> None:
        for urgent, queue in self._queues.items():
            while queue and self._free and (urgent or self._free_for_others):
                self._free -= 1
                self._free_for_others -= not urgent
                waiter = queue.popleft()
                if not waiter.granted.done():
                    waiter.granted.set_result(None)
