"""Threads that call a driver.

``concurrent.futures`` and :func:`asyncio.to_thread` keep a process from
ending while a call hangs, so poolmgr has a thread pool of its own.
"""

import asyncio
import contextvars
import ctypes
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from poolmgr.cloud.breaker import Breaker
from poolmgr.drivers.verbs import Verb
from poolmgr.text import describe

T = TypeVar("T")

#: Called with each resource that a call has created; with None if the call
#: may have created one.
OnCreated = Callable[[T | None], None]
_Item = tuple[asyncio.Future[Any], contextvars.Context, Callable[[], Any]]


class CallPool:
    """A pool of daemon threads, which are started on demand.

    All methods except :meth:`close` are called on the loop, so the counters
    need no lock.

    :param size: maximum number of threads
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._threads = 0
        self._pending = 0

    def submit(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Run a function on a thread, in a copy of the current context."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._threads < min(self._pending + 1, self._size):
            # Before the work is queued: this fails if there are no threads.
            threading.Thread(
                target=self._serve, name="poolmgr-call", daemon=True
            ).start()
            self._threads += 1
        self._pending += 1
        self._queue.put((future, contextvars.copy_context(), work))
        return future

    def close(self) -> None:
        """End the threads; a thread that hangs ends when its call returns."""
        for _thread in range(self._threads):
            self._queue.put(None)

    def _serve(self) -> None:
        while (item := self._queue.get()) is not None:
            future, context, work = item
            try:
                settle = partial(future.set_result, context.run(work))
            except BaseException as raised:
                settle = partial(future.set_exception, _as_exception(raised))
            with suppress(RuntimeError):  # the loop is closed
                loop = future.get_loop()
                loop.call_soon_threadsafe(self._end, future, settle)
            # So that an idle thread keeps nothing alive.
            del item, future, context, work, settle

    def _end(
        self, future: "asyncio.Future[Any]", settle: Callable[[], None]
    ) -> None:
        self._pending -= 1
        if not future.cancelled():
            settle()
            # Retrieved, so that asyncio does not log an error of a call that
            # returns while the loop is being stopped.
            future.exception()


def run_on_thread(work: Callable[[], T]) -> "asyncio.Future[T]":
    """Run a function on a daemon thread of its own."""
    pool = CallPool(1)
    future = pool.submit(work)
    pool.close()  # the thread ends with its work
    return future


def _as_exception(error: BaseException) -> Exception:
    """Return an error that a future can hold.

    ``StopIteration`` would hang the future, ``CancelledError`` would look like
    a cancellation, and ``SystemExit`` would end the loop.
    """
    if isinstance(error, Exception) and type(error) is not StopIteration:
        return error
    exception = RuntimeError(describe(error))
    exception.__cause__ = error
    return exception


@dataclass(eq=False)
class DriverCall(Generic[T]):
    """One call of a driver's verb.

    :ivar verb: the verb
    :ivar args: its arguments, without the timeout
    :ivar urgent: whether the call belongs to a short job
    :ivar on_created: see :data:`OnCreated`; None unless the verb creates
    :ivar loop: the loop that waits for the call
    :ivar outcome: the result, or the error when it was given up
    :ivar watchdog: the timer that gives the call up
    :ivar breakers: the circuit breakers that let the call pass
    :ivar number: its number in :data:`~poolmgr.cloud.breaker.SEQUENCE`
    :ivar since: time from which the timeout counts: the start of the call or
        of its last request; infinite while it waits for the rate limit
    :ivar begun: whether a thread has begun the call
    """

    verb: Verb[T]
    args: tuple[object, ...]
    urgent: bool
    on_created: OnCreated[T] | None
    loop: asyncio.AbstractEventLoop
    outcome: "asyncio.Future[T]" = field(init=False)
    watchdog: asyncio.TimerHandle = field(init=False)
    breakers: Sequence[Breaker] = ()
    number: int = 0
    since: float = 0.0
    begun: bool = False

    def __post_init__(self) -> None:
        self.outcome = self.loop.create_future()


#: The call that the current thread makes; the rate limiter stops its clock.
CALL: ContextVar[DriverCall[Any] | None] = ContextVar(
    "poolmgr_call", default=None
)


def limit_arenas() -> None:
    """Let glibc use two memory arenas for all threads.

    By default each thread has its own, which is 10 MiB for 33 threads.  Call
    this only in poolmgr's own processes, before they start threads.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX in malloc.h
