"""Circuit breakers: what keeps failing is only tried now and then."""

import asyncio
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from poolmgr.cloud.pace import Pace, backoff, pause_after
from poolmgr.errors import (
    AuthenticationFailed,
    Busy,
    CloudError,
    CloudUnavailable,
    DeviceFailed,
    PoolmgrError,
    QuotaExceeded,
)
from poolmgr.text import one_line, words_of
from poolmgr.tracing import current

LOG = logging.getLogger(__name__)

#: Failures in a row after which something is only tried now and then.
_FAILURES = 5
_RESOURCES = {"compute": "devices", "network": "floating IPs"}


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
    :ivar waiting: how many wait

    :param what: for the log
    :param failure: the errors that count as one
    :param times: seconds before the first attempt, and between two attempts
        at most
    :param refusal: makes the error for who waits in vain, from the words of
        the last failure
    :param threshold: failures in a row that open it
    :param may_wait: see above
    :param log_level: of the line that says that it has opened
    """

    what: str
    failure: type[PoolmgrError] | tuple[type[PoolmgrError], ...]
    times: tuple[float, float]
    refusal: Callable[[str], PoolmgrError]
    threshold: int = 1
    may_wait: bool = True
    log_level: int = logging.WARNING

    def __post_init__(self) -> None:
        self.open = False
        self.openings = 0
        self.reason = ""
        self.waiting = 0
        self._failures = 0
        self._pauses: Iterator[float] = iter(())
        self._next = 0.0  # when the next attempt may begin, by the loop
        self._queue = asyncio.Lock()  # its holder has the next attempt
        self._changed = asyncio.Event()

    async def wait(self, max_wait: float = math.inf) -> None:
        """Wait until a call may be tried.

        :param max_wait: seconds to wait while it is open, at most
        :raises PoolmgrError: the refusal, after a wait in vain
        """
        if not self.open:
            return
        refused = self.refusal(self.reason)
        if (context := current()) is not None:
            context.trouble = refused
        self.waiting += 1
        try:
            seconds = max_wait if max_wait < math.inf else None
            async with asyncio.timeout(seconds) as limit, self._queue:
                while self.open and self._is_early:
                    if not self.may_wait:
                        raise refused
                    self._changed.clear()
                    await self._changed.wait()
                if self.open:
                    self._try_in(self.times[1])
        except TimeoutError:
            if limit.expired():
                raise self.refusal(self.reason) from None
            raise
        finally:
            self.waiting -= 1

    @property
    def _is_early(self) -> bool:
        # The timer may be early by the clock's resolution.
        return self._next - asyncio.get_running_loop().time() > 0.001

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
        elif self._failures and (is_busy or _is_answer(error)):
            self._succeed(began)

    def hint(self) -> None:
        """Try at once: something has happened that makes it promising."""
        self._next = 0.0
        self._changed.set()

    def hurry(self) -> None:
        """Let nobody wait any more while it is open."""
        self.may_wait = False
        self._changed.set()

    def _fail(self, error: PoolmgrError, began: int) -> None:
        self._failures += 1
        self.reason = words_of(error)
        if not self.open and self._failures >= self.threshold:
            self.open = True
            self.openings = began = self.openings + 1
            self._pauses = backoff(*self.times)
            what, why = self.what, one_line(self.reason)
            LOG.log(self.log_level, "circuit open: %s: %s", what, why)
        if self.open and began == self.openings:
            # The cloud may have said when to ask again.
            self._try_in(max(pause_after(error), next(self._pauses)))

    def _succeed(self, began: int) -> None:
        if self.open and began == self.openings:
            LOG.info("circuit closed: %s", self.what)
            self.open = False
            self._changed.set()
        if not self.open:
            self.reason = ""
            self._failures = 0

    def _try_in(self, pause: float) -> None:
        loop = asyncio.get_running_loop()
        self._next = loop.time() + pause
        loop.call_at(self._next, self._changed.set)


class Circuits:
    """All circuit breakers of a cloud.

    Over quota, one request after a pause finds out whether there is room
    again, whoever makes it: so a queue of builds neither fails as a whole nor
    floods the cloud.

    :ivar calls: the breakers of calls, by kind and service, and of the login
    :ivar login: open while the cloud refuses the credentials
    :ivar quotas: the breakers of the cloud's room, by the circuit of the verb
        that needs it
    :ivar boots: open while no device boots
    :ivar capacity: quotas and boots, by what they are for

    :param pace: the times of waiting
    """

    def __init__(self, pace: Pace) -> None:
        times = pace.breaker_first, pace.breaker_longest
        down = CloudUnavailable, times, CloudUnavailable, _FAILURES
        self.calls = {
            f"{kind} {service}": Breaker(f"{kind} {resources}", *down)
            for service, resources in _RESOURCES.items()
            for kind in ("reading", "changing", "making")
        }
        times = pace.login_first, pace.login_longest
        refused = AuthenticationFailed, times, AuthenticationFailed
        self.login = Breaker(
            "logging in",
            *refused,
            may_wait=False,
            log_level=logging.INFO,  # each job's own line has the reason
        )
        self.calls["login"] = self.login
        times = pace.room_first, pace.room_longest
        full = QuotaExceeded, times, QuotaExceeded
        devices = Breaker("creating devices", *full)
        ips = Breaker("allocating floating IPs", *full)
        self.quotas = {"making compute": devices, "making network": ips}
        # Of its own floating IP: the next device gets none, either.
        failed = (DeviceFailed, QuotaExceeded), times, _no_boots, _FAILURES
        self.boots = Breaker("building devices", *failed)
        self.capacity = {
            "device quota": devices,
            "floating ip quota": ips,
            "boots": self.boots,
        }

    @property
    def stuck(self) -> bool:
        """Whether a build that is started now would only wait."""
        needed = [self.quotas["making compute"], self.boots]
        needed += [b for name, b in self.calls.items() if "compute" in name]
        return any(breaker.open for breaker in needed)

    def hurry(self) -> None:
        """Let nobody wait for room any more."""
        for breaker in self.capacity.values():
            breaker.hurry()


def _is_answer(error: BaseException | None) -> bool:
    """Whether the cloud works, were it to say no."""
    unavailable = isinstance(error, CloudUnavailable)
    return error is None or (isinstance(error, CloudError) and not unavailable)


def _no_boots(reason: str) -> CloudUnavailable:
    return CloudUnavailable(
        f"no device was asked for, because the last ones failed: {reason}"
    )
