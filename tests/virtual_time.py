"""A loop whose clock jumps to what happens next, and a pool without threads.

An ``async def test_...`` runs on such a loop: minutes of waiting take none.
Nothing else may be real in it, neither threads nor sockets.
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
    """Does not sleep, but counts what it would have slept."""

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
    """A loop on which nothing takes time."""

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
    """Runs work at once; its answer comes after some seconds.

    :param seconds: asked after each work how long it took; infinite for one
        that hangs
    """

    def __init__(self, seconds: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__(size=0)
        self._seconds = seconds

    def submit(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Run it, in a copy of the present context."""
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
