"""Calls from threads into an event loop."""

import asyncio
from collections import deque
from collections.abc import Callable


class Mailbox:
    """Has a loop call things; many of them for one time that it is woken.

    To wake a loop costs a system call and, under load, a change of threads:
    more than a short job itself.

    :param loop: where the calls are made, in the order they came
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._woken = False

    def put(self, call: Callable[[], None]) -> None:
        """Have it called soon; from any thread.

        :raises RuntimeError: the loop is closed
        """
        self._calls.append(call)
        # Whoever appends after this was reset wakes it again; so nothing is
        # left lying, and to wake it once too often does no harm.
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._empty)

    def _empty(self) -> None:
        self._woken = False
        try:
            # Those that come meanwhile have their turn after the sockets.
            for _call in range(len(self._calls)):
                self._calls.popleft()()
        finally:
            # Also for those behind a call that raises: the loop is told of it.
            if self._calls and not self._woken:
                self._woken = True
                self._loop.call_soon(self._empty)
