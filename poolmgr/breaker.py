"""Leaves what fails in peace, and finds out when it works again."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from poolmgr.errors import PoolmgrError
from poolmgr.text import one_line
from poolmgr.waiting import Deadline, backoff

LOG = logging.getLogger(__name__)

#: Attempts at once, at most, while it is found out whether all is well.
_WIDEST = 32


class _Waiter:
    def __init__(self, urgent: bool) -> None:
        self.urgent = urgent
        self.wake = threading.Event()


class Breaker:
    """A circuit breaker whose callers wait for their turn.

    After some failures in a row it opens: then one attempt is made after a
    pause, whoever's it is, and the others wait.  If it fails the next pause
    is longer; if it succeeds the breaker closes, or, where room may be
    scarce, the others go in growing numbers for as long as they succeed.

    :param what: what is attempted, for the log
    :param failure: the error that counts as a failure; others say nothing
    :param refusal: makes the error for who waits in vain, from the last
        failure's words
    :param threshold: failures in a row that open it
    :param first: seconds before the first attempt
    :param longest: seconds between two attempts, at most
    :param scarce: whether one success does not mean that all will succeed
    """

    def __init__(
        self,
        what: str,
        failure: type[PoolmgrError],
        refusal: Callable[[str], PoolmgrError],
        threshold: int = 1,
        first: float = 5.0,
        longest: float = 30.0,
        scarce: bool = False,
    ) -> None:
        self._what = what
        self._failure = failure
        self._refusal = refusal
        self._threshold = threshold
        self._first, self._longest = first, longest
        self._scarce = scarce
        self._lock = threading.Lock()
        self._failures = 0
        self._reason = ""
        self._open = False
        self._pauses = backoff(first, longest)
        self._next = 0.0  # when the next attempt may begin, monotonic
        self._attempts = 0  # under way while it is open
        self._width = 1  # how many may be
        self._urgent: deque[_Waiter] = deque()
        self._others: deque[_Waiter] = deque()

    @property
    def open(self) -> bool:
        """Whether attempts are held back."""
        return self._open

    @contextmanager
    def turn(self, deadline: Deadline, patience: float) -> Iterator[None]:
        """Wait until it may be attempted; the block is the attempt.

        :param patience: seconds to wait for it, at most
        :raises PoolmgrError: the refusal, when it was waited for in vain
        :raises Stopped: the wait was called off
        """
        on_trial = self._enter(deadline, patience)
        try:
            yield
        except self._failure as error:
            self._failed(on_trial, str(error))
            raise
        except BaseException:
            self._dropped(on_trial)
            raise
        self._succeeded(on_trial)

    def hint(self) -> None:
        """Something has happened that makes the next attempt promising."""
        with self._lock:
            self._next = 0.0
            self._wake_next()

    # -- waiting ------------------------------------------------------------

    def _enter(self, deadline: Deadline, patience: float) -> bool:
        """Wait; whether the attempt is one to find out by."""
        waiter = _Waiter(deadline.urgent)
        queue = self._urgent if deadline.urgent else self._others
        end = time.monotonic() + min(patience, deadline.remaining())
        with self._lock:
            if not self._open:
                return False
            queue.append(waiter)
        try:
            with deadline.stop.wakes(waiter.wake.set):
                while True:
                    waiter.wake.clear()
                    with self._lock:
                        if not self._open:
                            return False
                        if self._may_go(waiter):
                            self._attempts += 1
                            return True
                        pause = self._pause(waiter)
                        reason = self._reason
                    left = end - time.monotonic()
                    if left <= 0:
                        deadline.check_stop(self._what)
                        raise self._refusal(reason)
                    waiter.wake.wait(min(pause, left))
                    deadline.check_stop(self._what)
        finally:
            with self._lock:
                queue.remove(waiter)
                self._wake_next()

    def _may_go(self, waiter: _Waiter) -> bool:
        return self._has_room(waiter) and time.monotonic() >= self._next

    def _has_room(self, waiter: _Waiter) -> bool:
        # What is urgent does not wait for an attempt that hangs.
        width = self._width + waiter.urgent
        return self._head() is waiter and self._attempts < width

    def _pause(self, waiter: _Waiter) -> float:
        """Seconds it is of use to sleep; with the lock held."""
        if not self._has_room(waiter):
            return threading.TIMEOUT_MAX
        return max(0.001, self._next - time.monotonic())

    def _head(self) -> _Waiter | None:
        queue = self._urgent or self._others
        return queue[0] if queue else None

    def _wake_next(self) -> None:
        head = self._head()
        if head is not None:
            head.wake.set()

    # -- what became of it --------------------------------------------------

    def _failed(self, on_trial: bool, reason: str) -> None:
        with self._lock:
            self._failures += 1
            self._reason = reason
            if on_trial:
                self._attempts -= 1
                self._hold_back()
            elif not self._open and self._failures >= self._threshold:
                self._open = True
                self._pauses = backoff(self._first, self._longest)
                self._hold_back()
                LOG.warning(
                    "%s is held back: %s", self._what, one_line(reason)
                )

    def _dropped(self, on_trial: bool) -> None:
        with self._lock:
            if on_trial:
                self._attempts -= 1
                self._hold_back()

    def _succeeded(self, on_trial: bool) -> None:
        with self._lock:
            self._failures = 0
            if on_trial:
                self._attempts -= 1
                self._width = min(_WIDEST, self._width * 2)
                self._next = 0.0
            if not self._open or (self._scarce and not on_trial):
                return
            if self._scarce and self._head() is not None:
                for _each in range(self._width - self._attempts):
                    self._wake_next()
                return
            self._open = False
            self._width = 1
            LOG.info("%s goes on", self._what)
            for waiter in (*self._urgent, *self._others):
                waiter.wake.set()

    def _hold_back(self) -> None:
        self._width = 1
        self._next = time.monotonic() + next(self._pauses)
        self._wake_next()
