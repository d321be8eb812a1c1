"""A few daemon threads for the blocking verbs of a driver.

``concurrent.futures`` and :func:`asyncio.to_thread` keep the process from
ending while a verb hangs, so they do not do here.
"""

import asyncio
import contextvars
import ctypes
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from poolmgr.errors import CloudUnavailable
from poolmgr.foreign import told

T = TypeVar("T")

_M_ARENA_MAX = -8  # of glibc's malloc.h


class Pool(Protocol):
    """What runs blocking work for the loop; tests have one without threads."""

    def submit(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Have the work run, in a copy of the present context."""

    def close(self) -> None:
        """End the threads as soon as their work ends."""


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
            result, error = _run(context, work)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._settle, future, result, error)

        self._pending += 1
        self._queue.put(run)
        if self._threads < min(self._pending, self._size):
            self._start_thread(future)
        return future

    def close(self) -> None:
        """End the threads; one that hangs ends when it returns."""
        for _thread in range(self._threads):
            self._queue.put(None)

    def _start_thread(self, future: "asyncio.Future[Any]") -> None:
        thread = threading.Thread(
            target=self._serve, name="poolmgr-call", daemon=True
        )
        try:
            thread.start()
            self._threads += 1
        except RuntimeError as error:  # the system gives us none
            if not self._threads:
                future.set_exception(CloudUnavailable(told(error)))

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


def _run(
    context: contextvars.Context, work: Callable[[], T]
) -> tuple[T | None, Exception | None]:
    """Run the work; what it raises becomes an error that a future can hold.

    ``StopIteration`` would hang the future, ``CancelledError`` look like a
    cancel, and ``SystemExit`` end the loop.
    """
    try:
        return context.run(work), None
    except BaseException as error:
        if isinstance(error, Exception) and type(error) is not StopIteration:
            return None, error
        wrapped = RuntimeError(told(error))
        wrapped.__cause__ = error
        return None, wrapped


def limit_arenas() -> None:
    """Have glibc keep the memory of all threads in two arenas.

    By default each thread has one of its own: 10 MiB for 33 threads.  For
    processes that are poolmgr's own, and before there are threads.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
