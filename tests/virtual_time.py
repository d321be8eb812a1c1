"""A loop whose clock jumps to the next event, and a pool without threads.

An ``async def test_...`` runs on such a loop, where minutes of waiting take no
time. It must not use real threads or sockets.
"""

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

from poolmgr.cloud.pool import CallPool

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """A selector that counts the time instead of sleeping."""

    now = 0.0

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, or move the clock."""
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits for ever"
            self.now += max(0.0, timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop on virtual time."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the seconds since the loop was made."""
        return self._virtual.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


class VirtualPool(CallPool):
    """Runs work at once and delivers its result some virtual seconds later.

    :param seconds: called for each piece of work; returns its duration,
        infinite for work that hangs
    """

    def __init__(self, seconds: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__(size=0)
        self._seconds = seconds

    def submit(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Run work in a copy of the current context."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        error: Exception | None = None
        try:
            result = copy_context().run(work)
        except Exception as raised:
            error = raised

        def answer() -> None:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        if (seconds := self._seconds()) < math.inf:
            loop.call_later(seconds, answer)
        return future
