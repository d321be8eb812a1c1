"""The threads that call a driver, and how many requests they may send.

``concurrent.futures`` and :func:`asyncio.to_thread` keep the process from
ending while a verb hangs, so they do not do here.
"""

import asyncio
import contextvars
import ctypes
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from poolmgr.cloud.breaker import Breaker
from poolmgr.drivers.base import RequestLimiter
from poolmgr.drivers.verbs import Verb
from poolmgr.text import told
from poolmgr.tracing import current

T = TypeVar("T")

Note = Callable[[T | None], None]

_M_ARENA_MAX = -8  # of glibc's malloc.h


class CallPool:
    """Daemon threads that start when they are needed.

    All methods but :meth:`close` are called on the loop, so that the counts
    need no lock.

    :param size: threads, at most
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = (
            queue.SimpleQueue()
        )
        self._threads = 0
        self._pending = 0

    def submit(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Have a thread do the work, in a copy of the present context."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def run() -> None:
            result, error = None, None
            try:
                result = context.run(work)
            except BaseException as raised:
                error = _ordinary(raised)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._settle, future, result, error)

        self._pending += 1
        self._queue.put(run)
        if self._threads < min(self._pending, self._size):
            threading.Thread(
                target=self._serve, name="poolmgr-call", daemon=True
            ).start()
            self._threads += 1
        return future

    def close(self) -> None:
        """End the threads; one that hangs ends when it returns."""
        for _thread in range(self._threads):
            self._queue.put(None)

    def _serve(self) -> None:
        while (run := self._queue.get()) is not None:
            run()
            del run  # an idle thread must not keep its last work alive

    def _settle(
        self,
        future: "asyncio.Future[Any]",
        result: object,
        error: Exception | None,
    ) -> None:
        self._pending -= 1
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


def _ordinary(error: BaseException) -> Exception:
    """Make an error that a future can hold.

    ``StopIteration`` would hang the future, ``CancelledError`` look like a
    cancel, and ``SystemExit`` end the loop.
    """
    if isinstance(error, Exception) and type(error) is not StopIteration:
        return error
    ordinary = RuntimeError(told(error))
    ordinary.__cause__ = error
    return ordinary


@dataclass(eq=False)
class Call(Generic[T]):
    """One call of a verb.

    :ivar clock: tells the time
    :ivar note: told what a creation has made, were it late; None when nobody
        knows
    :ivar since: since when it owes an answer: when it began, or was about to
        send its last request; infinite while it waits at the rate limiter
    :ivar task: waits for it
    :ivar breakers: those that let it pass
    :ivar openings: how often each of them had opened then
    :ivar begun: whether a thread has begun it
    :ivar given_up: whether its answer has not come in time
    """

    clock: Callable[[], float]
    verb: Verb[T]
    args: tuple[object, ...]
    note: Note[T] | None
    urgent: bool
    since: float = field(init=False)
    task: asyncio.Task[T] = field(init=False)
    breakers: Sequence[Breaker] = ()
    openings: Sequence[int] = ()
    begun: bool = False
    given_up: bool = False

    def __post_init__(self) -> None:
        self.since = self.clock()


#: The call that the present thread makes.
CALL: ContextVar[Call[Any] | None] = ContextVar("poolmgr_call", default=None)


class RateLimiter(RequestLimiter):
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
        if self._per_second:
            if call is not None:
                call.since = math.inf
            context = current()
            self._wait(context is not None and context.urgent)
        if call is not None:
            call.since = call.clock()

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


def limit_arenas() -> None:
    """Have glibc keep the memory of all threads in two arenas.

    By default each thread has one of its own: 10 MiB for 33 threads.  For
    processes that are poolmgr's own, and before there are threads.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
