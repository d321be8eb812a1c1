"""A circuit breaker: what keeps failing is only tried now and then."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from poolmgr.cloud.attempts import Attempt, Waiting
from poolmgr.cloud.pace import backoff, pause_after
from poolmgr.errors import CloudUnavailable, PoolmgrError
from poolmgr.foreign import words_of
from poolmgr.text import one_line
from poolmgr.tracing import current

LOG = logging.getLogger(__name__)

#: Attempts at once, at most, where the first success does not mean that all
#: will succeed: so many are refused before the first refusal is known.
_WIDEST = 32


class Breaker:
    """A circuit breaker whose callers wait until they may try.

    After some failures in a row it opens: then one attempt is made after a
    pause, and all others wait.  If it fails the next pause is longer, or as
    long as the cloud asks for; if it succeeds the breaker closes.  An attempt
    that hangs for longer than the longest pause holds up nobody.

    :ivar may_wait: whether anybody may wait while it is open

    :param what: what is attempted, for the log
    :param failure: the error that counts as a failure; others say nothing
    :param refusal: makes the error for who waits in vain, from the words of
        the last failure
    :param threshold: failures in a row that open it
    :param first: seconds before the first attempt
    :param longest: seconds between two attempts, at most
    :param slow_start: whether one success does not mean that all will
        succeed: then the number of attempts at once doubles with each
    :param behind: the breaker of the service that is asked: while that is
        open, all go on to wait there, where they are told why
    :param level: level of the log line that says that it opens
    """

    def __init__(
        self,
        what: str,
        failure: type[PoolmgrError],
        refusal: Callable[[str], PoolmgrError],
        threshold: int = 1,
        first: float = 5.0,
        longest: float = 30.0,
        slow_start: bool = False,
        behind: "Breaker | None" = None,
        level: int = logging.WARNING,
    ) -> None:
        self._what = what
        self._failure = failure
        self._refusal = refusal
        self._threshold = threshold
        self._first, self._longest = first, longest
        self._slow_start = slow_start
        self._behind = behind
        self._before: list[Breaker] = []
        if behind is not None:
            behind._before.append(self)
        self._level = level
        self._failures = 0
        self._reason = ""
        self._open = False
        self.may_wait = True
        self._pauses = backoff(first, longest)
        self._next = 0.0  # when the next attempt may begin, by the loop
        self._attempts: set[Attempt] = set()  # those that are counted
        self._width = 1  # attempts that may run while it is open
        self._was_urgent = False  # the last attempt on trial
        self._waiting = Waiting()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def open(self) -> bool:
        """Whether attempts wait because the last ones failed."""
        return self._open

    @property
    def reason(self) -> str:
        """Why the last attempt failed; empty when it did not."""
        return self._reason

    @property
    def waiting(self) -> int:
        """How many wait to begin an attempt."""
        return len(self._waiting)

    @asynccontextmanager
    async def attempt(
        self, max_wait: float = math.inf
    ) -> AsyncIterator[Attempt]:
        """Wait until it may be tried; the block is the attempt.

        :param max_wait: seconds to wait while it is open, at most
        :raises PoolmgrError: the refusal, after a wait in vain
        """
        attempt = await self.begin(max_wait)
        try:
            yield attempt
        except BaseException as error:
            self.end(attempt, error)
            raise
        self.end(attempt)

    async def begin(self, max_wait: float = math.inf) -> Attempt:
        """Wait until it may be tried; :meth:`end` ends the attempt.

        :raises PoolmgrError: the refusal, after a wait in vain
        """
        loop = asyncio.get_running_loop()
        attempt = Attempt(current())
        if self._is_free:
            self._start(attempt, loop.time())
            return attempt
        attempt.end = loop.time() + max_wait
        attempt.granted = loop.create_future()
        self._waiting.add(attempt)
        self._admit()
        self._refuse_late()
        timer = None
        if max_wait < math.inf:
            timer = loop.call_at(attempt.end, self._refuse_late)
        try:
            await attempt.granted
        except asyncio.CancelledError:
            if attempt.began:
                self.end(attempt, asyncio.CancelledError())
            elif not attempt.granted.cancelled():
                attempt.granted.exception()  # nobody else looks at it
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self._waiting.remove(attempt)
            self._admit()
        return attempt

    def end(
        self, attempt: Attempt, error: BaseException | None = None
    ) -> None:
        """Say how an attempt ended.

        :param error: what it raised; None after a success
        """
        self._attempts.discard(attempt)
        if error is None:
            self._succeeded(attempt)
        elif isinstance(error, self._failure):
            # The cloud may have said when to ask again.
            pause = 0.0
            if isinstance(error, CloudUnavailable):
                pause = pause_after(error)
            self._count(words_of(error), pause)
            if attempt.on_trial:
                self._wait_for_next(pause)
        elif attempt.on_trial:
            self._wait_for_next()
        self._admit()

    def allows(self, attempt: Attempt) -> bool:
        """Tell whether who has waited since he began may still go on."""
        return attempt.on_trial or not self._open

    def blame(self, reason: str) -> None:
        """Count a failure that is of another kind than the usual."""
        self._count(reason)

    def hint(self) -> None:
        """Try at once: something has happened that makes it promising."""
        self._next = 0.0
        self._admit()

    def hurry(self) -> None:
        """Let nobody wait any more while it is open."""
        self.may_wait = False
        self._refuse_late()

    # -- waiting ------------------------------------------------------------

    @property
    def _is_free(self) -> bool:
        """Whether anybody may begin at once."""
        if self._open or self._waiting:
            return False
        return not self._is_limited or len(self._attempts) < _WIDEST

    @property
    def _is_limited(self) -> bool:
        """Whether there is a limit although it is not open."""
        is_passed = self._behind is not None and self._behind.open
        return self._slow_start and not is_passed

    def _start(self, attempt: Attempt, now: float) -> None:
        attempt.began, attempt.begun = True, now
        attempt.on_trial = self._open
        self._was_urgent = attempt.on_trial and attempt.urgent
        if self._open or self._slow_start:
            self._attempts.add(attempt)

    def _admit(self) -> None:
        """Let begin whoever may, and come back when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while (attempt := self._in_turn) is not None:
            loop = asyncio.get_running_loop()
            now, at = loop.time(), self._may_begin_at(attempt)
            if at > now:
                if at < math.inf:
                    self._timer = loop.call_at(at, self._admit)
                return
            self._waiting.remove(attempt)
            if attempt.granted is not None and not attempt.granted.done():
                self._start(attempt, now)
                attempt.granted.set_result(None)

    @property
    def _in_turn(self) -> Attempt | None:
        """Whose turn it is; urgent requests may be just those that fail."""
        return self._waiting.first(self._was_urgent and not self._attempts)

    def _may_begin_at(self, attempt: Attempt) -> float:
        """Return when an attempt may begin, by the loop's clock."""
        if not (self._open or self._is_limited):
            return 0.0
        width = self._width if self._open else _WIDEST
        # An urgent request does not wait for an attempt that hangs.
        width += attempt.urgent
        begun = sorted(each.begun for each in self._attempts)
        at = self._next if self._open else 0.0
        if len(begun) >= width:
            # One of these has to end, or to be old.
            at = max(at, begun[-width] + self._longest)
        return at

    def _refuse_late(self) -> None:
        """Tell who waits why, and refuse who has waited long enough."""
        if self._open:
            now = asyncio.get_running_loop().time()
            self._waiting.tell(self._refused)
            late_at = now if self.may_wait else math.inf
            self._waiting.refuse(self._refused, late_at)

    def _refused(self) -> PoolmgrError:
        return self._refusal(self._reason)

    # -- what became of it --------------------------------------------------

    def _count(self, reason: str, pause: float = 0.0) -> None:
        self._failures += 1
        self._reason = reason
        if self._open or self._failures < self._threshold:
            return
        self._open = True
        # What began before tells nothing new.
        self._attempts.clear()
        self._pauses = backoff(self._first, self._longest)
        self._wait_for_next(pause)
        LOG.log(
            self._level, "%s is held back: %s", self._what, one_line(reason)
        )
        self._refuse_late()
        for breaker in self._before:
            breaker._admit()

    def _wait_for_next(self, pause: float = 0.0) -> None:
        self._width = 1
        now = asyncio.get_running_loop().time()
        self._next = now + max(pause, next(self._pauses))
        self._admit()

    def _succeeded(self, attempt: Attempt) -> None:
        if not (self._open and self._slow_start):
            self._failures = 0
            self._reason = ""
        if attempt.on_trial:
            self._width = min(_WIDEST, self._width * 2)
            self._next = 0.0
        if self._open and (
            not self._slow_start
            or (attempt.on_trial and self._in_turn is None)
        ):
            self._close()

    def _close(self) -> None:
        self._open = False
        self._failures = 0
        self._reason = ""
        self._width = 1
        self._attempts.clear()
        LOG.info("%s goes on", self._what)
