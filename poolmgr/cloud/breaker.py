"""Leaves what fails in peace, and finds out when it works again."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from poolmgr.errors import CloudUnavailable, PoolmgrError, words_of
from poolmgr.text import one_line
from poolmgr.waiting import Deadline, Wake, backoff

LOG = logging.getLogger(__name__)

#: Attempts at once, at most, where room may be scarce: so many are refused
#: before the first refusal is known.
_WIDEST = 32


class Turn:
    """Somebody's turn, and the wait for it.

    :ivar on_trial: whether it is to find out if all is well again
    :ivar wake: set when it may be worth to look again
    """

    wake: Wake

    def __init__(self, urgent: bool) -> None:
        self.urgent = urgent
        self.on_trial = False
        self.begun = 0.0


class Breaker:
    """A circuit breaker whose callers wait for their turn.

    After some failures in a row it opens: then one attempt is made after a
    pause, whoever's it is, and the others wait.  If it fails the next pause
    is longer; if it succeeds the breaker closes, or, where room may be
    scarce, the others go in growing numbers for as long as they succeed.  An
    attempt that hangs for longer than the longest pause holds up nobody.  The
    pauses are longer if the cloud asks for it.

    :param what: what is attempted, for the log
    :param failure: the error that counts as a failure; others say nothing
    :param refusal: makes the error for who waits in vain, from the last
        failure's words
    :param threshold: failures in a row that open it
    :param first: seconds before the first attempt
    :param longest: seconds between two attempts, at most
    :param scarce: whether one success does not mean that all will succeed
    :param level: at which the log says that it opens
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
        level: int = logging.WARNING,
    ) -> None:
        self._what = what
        self._failure = failure
        self._refusal = refusal
        self._threshold = threshold
        self._first, self._longest = first, longest
        self._scarce = scarce
        self._level = level
        self._lock = threading.Lock()
        self._failures = 0
        self._reason = ""
        self._open = False
        self._pauses = backoff(first, longest)
        self._next = 0.0  # when the next attempt may begin, monotonic
        self._attempts: set[Turn] = set()  # those that are counted
        self._width = 1  # how many may be under way while it is open
        self._patient = True
        self._was_urgent = False  # the last attempt that was to find out
        self._urgent: deque[Turn] = deque()
        self._others: deque[Turn] = deque()

    @property
    def open(self) -> bool:
        """Whether attempts are held back."""
        return self._open

    @property
    def reason(self) -> str:
        """Why the last attempt failed; empty when it did not."""
        return self._reason

    @contextmanager
    def turn(self, deadline: Deadline, patience: float) -> Iterator[Turn]:
        """Wait until it may be attempted; the block is the attempt.

        :param patience: seconds to wait for it, at most, while it is open
        :raises PoolmgrError: the refusal, when it was waited for in vain
        :raises DeadlineExceeded: likewise, and nothing is wrong but that
            many wait
        :raises Stopped: the wait was called off
        """
        turn = self._enter(deadline, patience)
        try:
            yield turn
        except self._failure as error:
            self._failed(turn, error)
            raise
        except BaseException:
            self._dropped(turn)
            raise
        self._succeeded(turn)

    def allows(self, turn: Turn) -> bool:
        """Whether who has got a turn and waited since may still go on."""
        return turn.on_trial or not self._open

    def blame(self, reason: str) -> None:
        """Count a failure that is of another kind than the usual."""
        with self._lock:
            self._count(reason)

    @property
    def patient(self) -> bool:
        """Whether anybody may wait while it is open."""
        return self._patient

    def hurry(self) -> None:
        """Have nobody wait any more while it is open."""
        with self._lock:
            self._patient = False
            self._wake_all()

    def hint(self) -> None:
        """Something has happened that makes the next attempt promising."""
        with self._lock:
            self._next = 0.0
            self._wake_next()

    # -- waiting ------------------------------------------------------------

    def _enter(self, deadline: Deadline, patience: float) -> Turn:
        turn = Turn(deadline.urgent)
        queue = self._urgent if deadline.urgent else self._others
        now = time.monotonic()
        end = now + min(patience, deadline.remaining())
        with self._lock:
            if self._is_free:
                self._begin(turn, now)
                return turn
            turn.wake = Wake()
            queue.append(turn)
        try:
            with deadline.stop.wakes(turn.wake.set):
                while (pause := self._look(turn, end, deadline)) is not None:
                    turn.wake.wait(min(pause, deadline.remaining()))
                    deadline.check_stop(self._what)
        finally:
            with self._lock:
                queue.remove(turn)
                self._wake_next()
        return turn

    @property
    def _is_free(self) -> bool:
        """Whether anybody may begin at once; with the lock held."""
        if self._open or self._urgent or self._others:
            return False
        return not self._scarce or len(self._attempts) < _WIDEST

    def _look(
        self, turn: Turn, end: float, deadline: Deadline
    ) -> float | None:
        """Seconds to sleep; None when it is its turn.

        :param end: when its patience ends, monotonic
        """
        with self._lock:
            now = time.monotonic()
            pause = self._pause(turn, now)
            if pause <= 0:
                self._begin(turn, now)
                return None
            if not self._open:
                deadline.check(self._what)
                return pause
            if now >= end or not self._patient:
                deadline.check_stop(self._what)
                raise self._refusal(self._reason)
            return min(pause, end - now)

    def _begin(self, turn: Turn, now: float) -> None:
        turn.begun = now
        turn.on_trial = self._open
        self._was_urgent = turn.on_trial and turn.urgent
        if self._open or self._scarce:
            self._attempts.add(turn)

    def _pause(self, turn: Turn, now: float) -> float:
        """Seconds it is of use to sleep; with the lock held, as below."""
        if not (self._open or self._scarce):
            return 0.0
        if self._head() is not turn:
            return threading.TIMEOUT_MAX
        width = self._width if self._open else _WIDEST
        # What is urgent does not wait for an attempt that hangs.
        width += turn.urgent
        begun = sorted(each.begun for each in self._attempts)
        # One of these has to end, or to be old.
        free = begun[-width] + self._longest if len(begun) >= width else now
        return max(free, self._next if self._open else now) - now

    def _head(self) -> Turn | None:
        queue = self._urgent or self._others
        if self._others and self._was_urgent and not self._attempts:
            # What is urgent may be just what fails.
            queue = self._others
        return queue[0] if queue else None

    def _wake_next(self) -> None:
        head = self._head()
        if head is not None:
            head.wake.set()

    def _wake_all(self) -> None:
        for turn in (*self._urgent, *self._others):
            turn.wake.set()

    # -- what became of it --------------------------------------------------

    def _failed(self, turn: Turn, error: PoolmgrError) -> None:
        # The cloud may have said when it is of use to ask again.
        pause = 0.0
        if isinstance(error, CloudUnavailable):
            pause = error.pause
        reason = words_of(error)
        with self._lock:
            self._attempts.discard(turn)
            self._count(reason, pause)
            if turn.on_trial:
                self._hold_back(pause)

    def _count(self, reason: str, pause: float = 0.0) -> None:
        self._failures += 1
        self._reason = reason
        if self._open or self._failures < self._threshold:
            return
        self._open = True
        # What began before tells nothing new.
        self._attempts.clear()
        self._pauses = backoff(self._first, self._longest)
        self._hold_back(pause)
        LOG.log(
            self._level, "%s is held back: %s", self._what, one_line(reason)
        )
        # Who waits for his turn may have no patience for this.
        self._wake_all()

    def _dropped(self, turn: Turn) -> None:
        with self._lock:
            self._attempts.discard(turn)
            if turn.on_trial:
                self._hold_back()
            else:
                self._wake_next()

    def _succeeded(self, turn: Turn) -> None:
        with self._lock:
            self._attempts.discard(turn)
            if not (self._open and self._scarce):
                self._failures = 0
                self._reason = ""
            if turn.on_trial:
                self._width = min(_WIDEST, self._width * 2)
                self._next = 0.0
            if not self._open:
                self._wake_next()
            elif not self._scarce or (turn.on_trial and self._head() is None):
                self._close()
            else:
                self._wake_next()

    def _close(self) -> None:
        self._open = False
        self._failures = 0
        self._reason = ""
        self._width = 1
        self._attempts.clear()
        LOG.info("%s goes on", self._what)
        self._wake_all()

    def _hold_back(self, pause: float = 0.0) -> None:
        self._width = 1
        self._next = time.monotonic() + max(pause, next(self._pauses))
        self._wake_next()
