"""How many calls a cloud gets: so many at once, so many a second."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from poolmgr.waiting import Deadline, Wake


class _Rank(IntEnum):
    """Who goes first."""

    URGENT = 0
    OVERDUE = 1  # was patient for long enough
    USUAL = 2
    PATIENT = 3


class _Waiter:
    def __init__(self, deadline: Deadline) -> None:
        self.rank = _Rank.PATIENT if deadline.patient else _Rank.USUAL
        if deadline.urgent:
            self.rank = _Rank.URGENT
        self.yields_until = deadline.yields_until
        self.wake = Wake()
        self.admitted = False

    @property
    def urgent(self) -> bool:
        return self.rank is _Rank.URGENT


class Gate:
    """Lets calls through in turn, urgent ones first, patient ones last.

    What is so is said by the deadline.  A part of the places is for urgent
    calls alone, so that one of them never waits for builds that the cloud is
    slow to take.

    A patient call lets all others go first until its patience ends; then it
    goes before all that is not urgent, so that builds without end do not
    keep it waiting for ever.

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
        self._queues: dict[_Rank, deque[_Waiter]] = {
            rank: deque() for rank in _Rank
        }
        self._under_way = 0
        self._others_under_way = 0
        self._holding_back = 0

    @contextmanager
    def passing(self, deadline: Deadline, doing: str) -> Iterator[None]:
        """Wait for a turn; the block is the call.

        :param doing: what the call is for, for the error's message
        :raises DeadlineExceeded: its turn did not come in time
        :raises Stopped: the wait was called off
        """
        deadline.check(doing)
        waiter = _Waiter(deadline)
        with self._lock:
            self._queues[waiter.rank].append(waiter)
            self._end_patience(waiter)
            self._admit()
        try:
            if not waiter.admitted:
                with deadline.stop.wakes(waiter.wake.set):
                    self._wait(waiter, deadline, doing)
            yield
        finally:
            self._leave(waiter)

    @contextmanager
    def holding_back(self) -> Iterator[None]:
        """Have patient calls wait while the block runs, as far as they do.

        For who goes before them and cannot be at the gate yet.
        """
        with self._lock:
            self._holding_back += 1
        try:
            yield
        finally:
            with self._lock:
                self._holding_back -= 1
                self._admit()

    def _wait(self, waiter: _Waiter, deadline: Deadline, doing: str) -> None:
        while not waiter.admitted:
            with self._lock:
                pause = self._of_use(waiter)
            waiter.wake.wait(min(pause, deadline.remaining()))
            if not waiter.admitted:
                deadline.check(doing)
            with self._lock:
                self._end_patience(waiter)
                self._admit()

    def _end_patience(self, waiter: _Waiter) -> None:
        """Have it go before others if it is time; with the lock held."""
        if (
            waiter.rank is _Rank.PATIENT
            and not waiter.admitted
            and time.monotonic() >= waiter.yields_until
        ):
            self._queues[_Rank.PATIENT].remove(waiter)
            self._queues[_Rank.OVERDUE].append(waiter)
            waiter.rank = _Rank.OVERDUE

    def _leave(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter.admitted:
                self._under_way -= 1
                self._others_under_way -= not waiter.urgent
            else:
                self._queues[waiter.rank].remove(waiter)
            self._admit()

    def _next(self) -> _Waiter | None:
        """Whose turn it is; with the lock held."""
        if self._under_way >= self._at_once:
            return None
        for rank in self._admissible():
            if self._queues[rank]:
                return self._queues[rank][0]
        return None

    def _admissible(self) -> Iterator[_Rank]:
        """Who may begin a call, the first first; with the lock held."""
        yield _Rank.URGENT
        if self._others_under_way < self._others_at_once:
            yield _Rank.OVERDUE
            yield _Rank.USUAL
            if not self._holding_back:
                yield _Rank.PATIENT

    def _admit(self) -> None:
        """Let in whoever may; with the lock held."""
        while (waiter := self._next()) is not None:
            if not self._take_token():
                waiter.wake.set()  # it is in front now, and waits for one
                return
            self._queues[waiter.rank].popleft()
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

    def _of_use(self, waiter: _Waiter) -> float:
        """Seconds it is of use to sleep; with the lock held."""
        pause = threading.TIMEOUT_MAX
        if self._next() is waiter and self._per_second:
            pause = max(0.001, (1.0 - self._tokens) / self._per_second)
        if waiter.rank is _Rank.PATIENT:
            left = waiter.yields_until - time.monotonic()
            pause = min(pause, max(0.0, left))
        return pause
