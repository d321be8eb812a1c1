"""Circuit breakers: they stop calls to a failing service."""

import asyncio
import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from poolmgr.cloud.pace import Pace, backoff, retry_after
from poolmgr.errors import (
    AuthenticationFailed,
    Busy,
    CloudError,
    CloudUnavailable,
    DeviceFailed,
    PoolmgrError,
    QuotaExceeded,
)
from poolmgr.text import message_of, one_line
from poolmgr.tracing import current

LOG = logging.getLogger(__name__)

#: Numbers for calls and for openings of circuits, in the order they happen.
SEQUENCE = itertools.count(1)
#: Consecutive failures that open a circuit.
_FAILURES = 5
_RESOURCES = {"compute": "devices", "network": "floating IPs"}


@dataclass(eq=False)
class Breaker:
    """A circuit breaker whose callers wait until they may try.

    It opens after some consecutive failures.  Then one call is tried after a
    pause while all others wait.  If that call fails, the next pause is longer;
    if it succeeds, the circuit closes.  If it hangs, the next one is tried
    after the longest pause.

    :param what: what the calls do, for the log
    :param failure: the errors that count as failures
    :param pauses: the first and the longest pause before a trial call, in
        seconds
    :param refusal: makes the error for a call that is not tried, from the
        text of the last failure
    :param threshold: consecutive failures that open the circuit
    :param may_wait: whether calls wait while the circuit is open; otherwise
        they fail at once
    :ivar open: whether the circuit is open
    :ivar opened: the number of the last opening; see :data:`SEQUENCE`
    :ivar reason: the text of the last failure; empty after a success
    :ivar waiting: number of calls that wait
    """

    what: str
    failure: type[PoolmgrError] | tuple[type[PoolmgrError], ...]
    pauses: tuple[float, float]
    refusal: Callable[[str], PoolmgrError]
    threshold: int = 1
    may_wait: bool = True

    def __post_init__(self) -> None:
        self.open = False
        self.opened = 0
        self.reason = ""
        self.waiting = 0
        self._failures = 0
        self._backoff: Iterator[float] = iter(())
        self._queue = asyncio.Lock()  # the holder makes the next trial call
        self._trial_due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def trial_due(self) -> bool:
        """Whether the next call may be tried although the circuit is open."""
        return self._trial_due.is_set()

    async def wait(self, max_wait: float | None = None) -> None:
        """Wait until a call may be tried.

        :param max_wait: maximum seconds to wait; None: no limit
        :raises PoolmgrError: the refusal, if the call may not be tried in time
        """
        if not self.open:
            return
        refused = self.refusal(self.reason)
        # At its deadline a job that waits here fails with this reason.
        if (context := current()) is not None:
            context.trouble = refused
        self.waiting += 1
        try:
            async with asyncio.timeout(max_wait), self._queue:
                if not (self.may_wait or self._trial_due.is_set()):
                    raise refused
                if self.open:
                    await self._trial_due.wait()
                if self.open:
                    self._schedule_trial(self.pauses[1])
        except TimeoutError:
            raise self.refusal(self.reason) from None
        finally:
            self.waiting -= 1

    def record(
        self, error: BaseException | None = None, number: float = math.inf
    ) -> None:
        """Count the result of a call.

        :param error: what the call raised; None after a success
        :param number: the call's number in :data:`SEQUENCE`; a call that
            began before the circuit opened is ignored
        """
        if self.open and number < self.opened:
            return
        if isinstance(error, self.failure) and not isinstance(error, Busy):
            self._count_failure(error)
        elif self._failures and is_answer(error):
            if self.open:
                LOG.info("circuit closed: %s", self.what)
                self._trial_due.set()
            self.open, self.reason, self._failures = False, "", 0

    def hint(self) -> None:
        """Allow a trial call at once, because it is likely to succeed."""
        self._trial_due.set()

    def stop_waiting(self) -> None:
        """Let calls fail instead of waiting from now on."""
        self.may_wait = False
        # Wakes the first in the queue; the others then fail one by one.
        self._trial_due.set()

    def _count_failure(self, error: PoolmgrError) -> None:
        self._failures += 1
        self.reason = message_of(error)
        if not self.open:
            if self._failures < self.threshold:
                return
            self.open, self.opened = True, next(SEQUENCE)
            self._backoff = backoff(*self.pauses)
            reason = one_line(self.reason)
            LOG.warning("circuit open: %s: %s", self.what, reason)
        self._schedule_trial(max(retry_after(error), next(self._backoff)))

    def _schedule_trial(self, pause: float) -> None:
        self._trial_due.clear()
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(pause, self._trial_due.set)


class Circuits:
    """All circuit breakers of a cloud.

    When the quota is used up, one request after each pause finds out whether
    there is room again, for all jobs together.  So queued builds neither fail
    nor flood the cloud.

    :param pace: how long to wait
    :ivar calls: breakers by circuit of the verb, and that of the login
    :ivar login: open while the cloud refuses the credentials
    :ivar quotas: breakers of the quotas, by circuit of the verb that creates
    :ivar boots: open while devices fail to boot
    :ivar capacity: the breakers of quotas and boots, by name
    """

    def __init__(self, pace: Pace) -> None:
        down = CloudUnavailable, pace.breaker, CloudUnavailable, _FAILURES
        self.calls = {
            f"{kind} {service}": Breaker(f"{kind} {resources}", *down)
            for service, resources in _RESOURCES.items()
            for kind in ("reading", "changing", "making")
        }
        # Often they need no request, and say nothing about the services.
        for circuit in ("finishing network", "reaching network"):
            self.calls[circuit] = Breaker(circuit, *down)
        refused = AuthenticationFailed, pace.login, AuthenticationFailed
        self.login = Breaker("logging in", *refused, may_wait=False)
        self.calls["login"] = self.login
        full = QuotaExceeded, pace.quota, QuotaExceeded
        devices = Breaker("creating devices", *full)
        ips = Breaker("allocating floating IPs", *full)
        self.quotas = {"making compute": devices, "making network": ips}
        # A device fails to boot as well if there is no floating IP for it.
        failed = (DeviceFailed, QuotaExceeded), pace.quota, _no_boots
        self.boots = Breaker("building devices", *failed, _FAILURES)
        self.capacity = {
            "device quota": devices,
            "floating ip quota": ips,
            "boots": self.boots,
        }

    @property
    def no_capacity(self) -> bool:
        """Whether a build that started now would wait and not be tried."""
        needed = [self.quotas["making compute"], self.boots]
        needed += [b for name, b in self.calls.items() if "compute" in name]
        return any(each.open and not each.trial_due for each in needed)

    def stop_waiting(self) -> None:
        """Let builds fail instead of waiting for quota from now on."""
        for breaker in self.capacity.values():
            breaker.stop_waiting()


def is_answer(error: BaseException | None) -> bool:
    """Return whether the cloud works, even if it refuses or is busy."""
    # Quotas and refusals are answers, too; a plugin's bug is not.
    if isinstance(error, CloudUnavailable):
        return isinstance(error, Busy)
    return error is None or isinstance(error, CloudError)


def _no_boots(reason: str) -> CloudUnavailable:
    return CloudUnavailable(
        f"no device was asked for, because the last ones failed: {reason}"
    )
