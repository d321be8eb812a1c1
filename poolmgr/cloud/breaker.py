"""Circuit breakers: what keeps failing is only tried now and then."""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from poolmgr.cloud.pace import Pace, backoff, pause_after
from poolmgr.drivers.verbs import Verb
from poolmgr.errors import (
    AuthenticationFailed,
    Busy,
    CloudError,
    CloudUnavailable,
    DeviceFailed,
    PoolmgrError,
    QuotaExceeded,
)
from poolmgr.foreign import words_of
from poolmgr.text import one_line
from poolmgr.tracing import current

LOG = logging.getLogger(__name__)

#: Failures in a row after which something is only tried now and then.
_FAILURES = 5
_THINGS = {"compute": "devices", "network": "floating IPs"}


@dataclass(eq=False)
class Breaker:
    """A circuit breaker whose callers wait until they may try.

    After some failures in a row it opens: then one call is tried after a
    pause, and all others wait.  If that fails the next pause is longer, or as
    long as the cloud asks for; if it succeeds the breaker closes.  One that
    hangs, or says nothing, holds up the others for the longest pause.

    :ivar open: whether calls wait because the last ones failed
    :ivar openings: how often it has opened; what began before the last
        opening says nothing about how things are since
    :ivar reason: why the last call failed; empty when it did not
    :ivar may_wait: whether anybody may wait while it is open

    :param what: for the log
    :param failure: the errors that count as one
    :param refusal: makes the error for who waits in vain, from the words of
        the last failure
    :param first: seconds before the first attempt
    :param longest: seconds between two attempts, at most
    :param threshold: failures in a row that open it
    :param log_level: of the line that says that it has opened
    """

    what: str
    failure: type[PoolmgrError] | tuple[type[PoolmgrError], ...]
    refusal: Callable[[str], PoolmgrError]
    first: float
    longest: float
    threshold: int = 1
    log_level: int = logging.WARNING

    def __post_init__(self) -> None:
        self.open = False
        self.openings = 0
        self.reason = ""
        self.may_wait = True
        self._failures = 0
        self._pauses: Iterator[float] = iter(())
        self._next = 0.0  # when the next attempt may begin, by the loop
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait until they may try."""
        return len(self._waiting)

    async def wait(self, max_wait: float = math.inf) -> None:
        """Wait until a call may be tried.

        :param max_wait: seconds to wait while it is open, at most
        :raises PoolmgrError: the refusal, after a wait in vain
        """
        loop = asyncio.get_running_loop()
        if not self.open or self._next <= loop.time():
            self._begin()
            return
        refused = self.refusal(self.reason)
        if (context := current()) is not None:
            context.trouble = refused
        if not self.may_wait or max_wait <= 0:
            raise refused
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        seconds = max_wait if max_wait < math.inf else None
        try:
            async with asyncio.timeout(seconds) as limit:
                await turn
        except TimeoutError:
            if limit.expired():
                raise self.refusal(self.reason) from None
            raise
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def record(
        self, error: BaseException | None = None, began: int | None = None
    ) -> None:
        """Count how a call ended.

        :param error: what it raised; None after a success
        :param began: the number of openings when it began; None if that does
            not matter
        """
        began = self.openings if began is None else began
        is_busy = isinstance(error, Busy)  # what is busy works
        if isinstance(error, self.failure) and not is_busy:
            self._fail(error, began)
        elif error is None or is_busy or _is_answer(error):
            self._succeed(began)

    def hint(self) -> None:
        """Try at once: something has happened that makes it promising."""
        self._next = 0.0
        self._admit()

    def hurry(self) -> None:
        """Let nobody wait any more while it is open."""
        self.may_wait = False
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(self.refusal(self.reason))

    def _fail(self, error: PoolmgrError, began: int) -> None:
        self._failures += 1
        self.reason = words_of(error)
        if not self.open and self._failures >= self.threshold:
            self.open = True
            self.openings = began = self.openings + 1
            self._pauses = backoff(self.first, self.longest)
            what, why = self.what, one_line(self.reason)
            LOG.log(self.log_level, "circuit open: %s: %s", what, why)
        if self.open and began == self.openings:
            # The cloud may have said when to ask again.
            self._try_in(max(pause_after(error), next(self._pauses)))

    def _succeed(self, began: int) -> None:
        if self.open and began == self.openings:
            LOG.info("circuit closed: %s", self.what)
            self.open = False
            self._admit()
        if not self.open:
            self.reason = ""
            self._failures = 0

    def _begin(self) -> None:
        if self.open:
            self._try_in(self.longest)

    def _try_in(self, pause: float) -> None:
        loop = asyncio.get_running_loop()
        self._next = loop.time() + pause
        loop.call_at(self._next, self._admit)

    def _admit(self) -> None:
        """Let begin whoever may."""
        # The timer may be early by the clock's resolution.
        now = asyncio.get_running_loop().time() + 0.001
        while self._waiting and (not self.open or self._next <= now):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._begin()


class Circuits:
    """All circuit breakers of a cloud.

    Over quota, one request after a pause finds out whether there is room
    again, whoever makes it: so a queue of builds neither fails as a whole nor
    floods the cloud.

    :ivar calls: the breakers of calls, by kind and service, and of the login
    :ivar login: open while the cloud refuses the credentials
    :ivar quotas: the breakers of the cloud's room, by the verb that needs it
    :ivar boots: open while no device boots
    :ivar capacity: quotas and boots, by what they are for

    :param pace: the times of waiting
    """

    def __init__(self, pace: Pace) -> None:
        down = CloudUnavailable, CloudUnavailable
        times = pace.breaker_first, pace.breaker_longest
        self.calls = {
            f"{kind} {service}": Breaker(
                f"{kind} {things}", *down, *times, _FAILURES
            )
            for service, things in _THINGS.items()
            for kind in ("reading", "changing", "making")
        }
        refused = AuthenticationFailed, AuthenticationFailed
        times = pace.login_first, pace.login_longest
        self.login = Breaker("logging in", *refused, *times)
        # Nobody waits for it: each job's own line has the reason.
        self.login.may_wait, self.login.log_level = False, logging.INFO
        self.calls["login"] = self.login
        full = QuotaExceeded, QuotaExceeded
        times = pace.room_first, pace.room_longest
        self.quotas = {
            "create_device": Breaker("creating devices", *full, *times),
            "create_ip": Breaker("allocating floating IPs", *full, *times),
        }
        # Of its own floating IP: the next device gets none, either.
        failures = DeviceFailed, QuotaExceeded
        self.boots = Breaker(
            "building devices", failures, _no_boots, *times, _FAILURES
        )
        self.capacity = {
            "device quota": self.quotas["create_device"],
            "floating ip quota": self.quotas["create_ip"],
            "boots": self.boots,
        }

    def of(self, verb: Verb[Any]) -> list[Breaker]:
        """Return those that a call of a verb has to pass."""
        quota = self.quotas.get(verb.name)
        others = [self.login, self.calls[verb.circuit]]
        return [quota, *others] if quota else others

    @property
    def stuck(self) -> bool:
        """Whether a build that is started now would only wait."""
        needed = [self.quotas["create_device"], self.boots]
        needed += [b for name, b in self.calls.items() if "compute" in name]
        return any(breaker.open for breaker in needed)

    def hurry(self) -> None:
        """Let nobody wait for room any more."""
        for breaker in self.capacity.values():
            breaker.hurry()


def _is_answer(error: BaseException) -> bool:
    """Whether the cloud works, were it to say no."""
    unavailable = isinstance(error, CloudUnavailable)
    return isinstance(error, CloudError) and not unavailable


def _no_boots(reason: str) -> CloudUnavailable:
    return CloudUnavailable(
        f"no device was asked for, because the last ones failed: {reason}"
    )
