"""A circuit breaker: what keeps failing is only tried now and then."""

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from poolmgr.cloud.pace import backoff, pause_after
from poolmgr.errors import Busy, CloudUnavailable, PoolmgrError
from poolmgr.foreign import words_of
from poolmgr.text import one_line
from poolmgr.tracing import current

LOG = logging.getLogger(__name__)


class Attempt:
    """Somebody's attempt; on trial it finds out if all is well again."""

    __slots__ = ("_breaker", "on_trial")

    def __init__(self, breaker: "Breaker") -> None:
        self._breaker = breaker
        self.on_trial = breaker.open

    @property
    def may_go_on(self) -> bool:
        """Whether who has waited since he began may still go on."""
        return self.on_trial or not self._breaker.open


@dataclass(eq=False)
class Breaker:
    """A circuit breaker whose callers wait until they may try.

    After some failures in a row it opens: then one attempt is made after a
    pause, and all others wait.  If it fails the next pause is longer, or as
    long as the cloud asks for; if it succeeds the breaker closes.  An attempt
    that hangs for longer than the longest pause holds up nobody.

    :ivar open: whether attempts wait because the last ones failed
    :ivar reason: why the last attempt failed; empty when it did not
    :ivar may_wait: whether anybody may wait while it is open

    :param what: for the log
    :param failure: the errors that count as one
    :param refusal: makes the error for who waits in vain, from the words of
        the last failure
    :param first: seconds before the first attempt
    :param longest: seconds between two attempts, at most
    :param threshold: failures in a row that open it
    :param answer: other errors that show that all is well; what is neither
        says nothing
    :param slow_start: whether one success does not mean that all will
        succeed: then the number of attempts at once doubles with each
    :param log_level: of the line that says that it has opened
    """

    what: str
    failure: type[PoolmgrError] | tuple[type[PoolmgrError], ...]
    refusal: Callable[[str], PoolmgrError]
    first: float
    longest: float
    threshold: int = 1
    answer: type[PoolmgrError] | tuple[()] = ()
    slow_start: bool = False
    log_level: int = logging.WARNING

    def __post_init__(self) -> None:
        self.open = False
        self.reason = ""
        self.may_wait = True
        self._failures = 0
        self._pauses = backoff(self.first, self.longest)
        self._next = 0.0  # when the next attempt may begin, by the loop
        self._at_once = 1  # attempts that may run while it is open
        self._trials: set[Attempt] = set()
        self._waiting: deque[asyncio.Future[Attempt]] = deque()

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
        if self._may_begin:
            return self._start()
        refused = self.refusal(self.reason)
        if (context := current()) is not None:
            context.trouble = refused
        if not self.may_wait or max_wait <= 0:
            raise refused
        granted: asyncio.Future[Attempt] = (
            asyncio.get_running_loop().create_future()
        )
        self._waiting.append(granted)
        seconds = max_wait if max_wait < math.inf else None
        try:
            async with asyncio.timeout(seconds) as limit:
                return await granted
        except BaseException as error:
            if granted in self._waiting:
                self._waiting.remove(granted)
            elif not granted.cancelled() and granted.exception() is None:
                # It was granted in the very turn of the cancel.
                self.end(granted.result(), error)
            if isinstance(error, TimeoutError) and limit.expired():
                raise self.refusal(self.reason) from None
            raise

    def end(
        self, attempt: Attempt, error: BaseException | None = None
    ) -> None:
        """Say how an attempt ended.

        :param error: what it raised; None after a success
        """
        self._trials.discard(attempt)
        self.count(error, attempt.on_trial)

    def count(
        self, error: BaseException | None = None, on_trial: bool = False
    ) -> None:
        """Count a success or a failure.

        :param on_trial: whether it tells how things are now
        """
        # What is busy works.
        if isinstance(error, self.failure) and not isinstance(error, Busy):
            self._fail(error, on_trial)
        elif error is None or isinstance(error, self.answer):
            self._succeed(on_trial)
        elif on_trial:
            self._pause()
        self._admit()

    def hint(self) -> None:
        """Try at once: something has happened that makes it promising."""
        self._next = 0.0
        self._admit()

    def hurry(self) -> None:
        """Let nobody wait any more while it is open."""
        self.may_wait = False
        while self._waiting:
            granted = self._waiting.popleft()
            if not granted.done():
                granted.set_exception(self.refusal(self.reason))

    @property
    def _may_begin(self) -> bool:
        if not self.open:
            return True
        # The timer may be early by the clock's resolution.
        now = asyncio.get_running_loop().time() + 0.001
        return now >= self._next and len(self._trials) < self._at_once

    def _start(self) -> Attempt:
        attempt = Attempt(self)
        if self.open:
            self._trials.add(attempt)
            # One that hangs is not waited for.
            loop = asyncio.get_running_loop()
            loop.call_later(self.longest, self._do_without, attempt)
        return attempt

    def _do_without(self, attempt: Attempt) -> None:
        self._trials.discard(attempt)
        self._admit()

    def _admit(self) -> None:
        """Let begin whoever may."""
        while self._waiting and self._may_begin:
            granted = self._waiting.popleft()
            if not granted.done():
                granted.set_result(self._start())

    def _fail(self, error: BaseException, on_trial: bool) -> None:
        self._failures += 1
        self.reason = words_of(error)
        opens = not self.open and self._failures >= self.threshold
        if opens:
            self.open = True
            self._pauses = backoff(self.first, self.longest)
            what, why = self.what, one_line(self.reason)
            LOG.log(self.log_level, "circuit open: %s: %s", what, why)
        if opens or on_trial:
            self._pause(error)

    def _pause(self, error: BaseException | None = None) -> None:
        # The cloud may have said when to ask again.
        asked = (
            pause_after(error) if isinstance(error, CloudUnavailable) else 0.0
        )
        self._at_once = 1
        loop = asyncio.get_running_loop()
        self._next = loop.time() + max(asked, next(self._pauses))
        loop.call_at(self._next, self._admit)

    def _succeed(self, on_trial: bool) -> None:
        if self.open and self.slow_start:
            if not on_trial:
                return  # it began when there still was room
            self._at_once *= 2
            self._next = 0.0
            if self._waiting:
                return
        if self.open:
            LOG.info("circuit closed: %s", self.what)
        self.open = False
        self.reason = ""
        self._failures = 0
        self._trials.clear()
