"""How many calls a cloud gets: so many at once, so many a second."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from poolmgr.waiting import Deadline


class _Waiter:
    def __init__(self, urgent: bool) -> None:
        self.urgent = urgent
        self.wake = threading.Event()
        self.admitted = False


class Gate:
    """Lets calls through in turn, urgent ones first.

    What is urgent is said by the deadline.  A part of the places is for
    urgent calls alone, so that one of them never waits for builds that the
    cloud is slow to take.

    :param at_once: most calls under way at once
    :param per_second: most calls begun in a second; 0 for any number
    """

    def __init__(self, at_once: int, per_second: float = 0.0) -> None:
        self._at_once = at_once
        self._others_at_once = max(1, at_once - at_once // 4)
        self._per_second = per_second
        # After a quiet time as many may come together as a second allows.
        self._burst = max(1.0, per_second)
        self._tokens = self._burst
        self._filled = time.monotonic()
        self._lock = threading.Lock()
        self._urgent: deque[_Waiter] = deque()
        self._others: deque[_Waiter] = deque()
        self._under_way = 0
        self._others_under_way = 0

    @contextmanager
    def passing(self, deadline: Deadline, doing: str) -> Iterator[None]:
        """Wait for a turn; the block is the call.

        :param doing: what the call is for, for the error's message
        :raises DeadlineExceeded: its turn did not come in time
        :raises Stopped: the wait was called off
        """
        deadline.check(doing)
        waiter = _Waiter(deadline.urgent)
        with self._lock:
            self._queue(waiter).append(waiter)
            self._admit()
        try:
            if not waiter.admitted:
                with deadline.stop.wakes(waiter.wake.set):
                    self._wait(waiter, deadline, doing)
            yield
        finally:
            self._leave(waiter)

    def _queue(self, waiter: _Waiter) -> deque[_Waiter]:
        return self._urgent if waiter.urgent else self._others

    def _wait(self, waiter: _Waiter, deadline: Deadline, doing: str) -> None:
        while not waiter.admitted:
            with self._lock:
                pause = self._until_token(waiter)
            waiter.wake.wait(min(pause, deadline.remaining()))
            waiter.wake.clear()
            if not waiter.admitted:
                deadline.check(doing)
            with self._lock:
                self._admit()

    def _leave(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter.admitted:
                self._under_way -= 1
                self._others_under_way -= not waiter.urgent
            else:
                self._queue(waiter).remove(waiter)
            self._admit()

    def _next(self) -> _Waiter | None:
        """Whose turn it is; with the lock held."""
        if self._under_way >= self._at_once:
            return None
        if self._urgent:
            return self._urgent[0]
        if self._others and self._others_under_way < self._others_at_once:
            return self._others[0]
        return None

    def _admit(self) -> None:
        """Let in whoever may; with the lock held."""
        while (waiter := self._next()) is not None:
            if not self._take_token():
                waiter.wake.set()  # it is in front now, and waits for one
                return
            self._queue(waiter).popleft()
            self._under_way += 1
            self._others_under_way += not waiter.urgent
            waiter.admitted = True
            waiter.wake.set()

    def _take_token(self) -> bool:
        if not self._per_second:
            return True
        now = time.monotonic()
        gained = (now - self._filled) * self._per_second
        self._tokens = min(self._burst, self._tokens + gained)
        self._filled = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _until_token(self, waiter: _Waiter) -> float:
        """Seconds it is of use to sleep; with the lock held."""
        if self._next() is not waiter or not self._per_second:
            return threading.TIMEOUT_MAX
        return max(0.001, (1.0 - self._tokens) / self._per_second)
