"""Running a driver's verbs on threads, and giving up those that hang."""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from poolmgr.cloud import checks
from poolmgr.cloud.checks import Verb
from poolmgr.cloud.limiter import CALL, RateLimiter
from poolmgr.cloud.pool import CallPool, Pool
from poolmgr.drivers.base import Driver
from poolmgr.drivers.lifecycle import name_of
from poolmgr.errors import CloudError, CloudUnavailable, OutcomeUnknown
from poolmgr.events import CloudCall, Observer, tell

LOG = logging.getLogger(__name__)

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Witness(Protocol[T_contra]):
    """Somebody who wants to know what comes of a creation."""

    def arrived(self, thing: T_contra, /) -> None:
        """The verb has returned this, perhaps late."""

    def lost(self) -> None:
        """Nobody knows whether the request took effect."""


class Runner:
    """Has threads call the verbs of a driver.

    A call that takes too long is given up, whether somebody waits for it or
    not: its thread counts as lost until it returns.

    :param driver: the driver; its limiter is set here
    :param grace: seconds that a call may overrun its time-out by
    :param pool: the threads; None for new ones
    :param observer: told of each request
    """

    def __init__(
        self,
        driver: Driver,
        grace: float,
        pool: Pool | None,
        observer: Observer | None,
    ) -> None:
        limits = driver.limits
        self.driver = driver
        self.pool = pool or CallPool(limits.calls_at_once)
        self.timeout = limits.call_timeout
        self.allowed = limits.call_timeout + grace
        self.calls: set[_Call[Any]] = set()
        self.returned_at = -math.inf
        self.clock: Callable[[], float] = lambda: 0.0
        self._observer = observer or Observer()
        self._driver_reports = False
        # A driver may be a frozen dataclass.
        limiter = RateLimiter(limits.calls_per_second)
        object.__setattr__(driver, "limiter", limiter)
        object.__setattr__(driver, "report_call", self._report)

    @property
    def overdue(self) -> float:
        """Seconds since a call should have returned, and none has.

        What was given up has not returned while its thread hangs.
        """
        calls = tuple(self.calls)
        since = min((call.since for call in calls), default=math.inf)
        if since == math.inf:
            return 0.0
        # Connecting has the time-out once for each address of a host.
        latest = max(since, self.returned_at)
        return max(0.0, self.clock() - latest - self.allowed - self.timeout)

    def start(
        self,
        verb: Verb[T],
        args: tuple[object, ...],
        witness: Witness[T] | None,
    ) -> "asyncio.Future[T]":
        """Have a thread call a verb; the answer comes in time, or an error.

        :param witness: told what comes of it, were it late
        """
        self.clock = asyncio.get_running_loop().time
        call = _Call(self, verb, args, witness)
        call.start()
        return call.answer

    def observe(
        self, verb: Verb[Any], status: int | None, took: float
    ) -> None:
        """Tell of a call, unless the driver tells of its requests itself."""
        if not self._driver_reports:
            call = CloudCall(verb.service, verb.name, status, took)
            tell(self._observer.cloud_called, call)

    def _report(self, call: CloudCall) -> None:
        self._driver_reports = True
        tell(self._observer.cloud_called, call)


class _Call(Generic[T]):
    """One call of a verb.

    :ivar answer: what the verb returns, or an error
    :ivar since: when it began, or sent its last request; infinite while it
        waits at the limiter
    """

    def __init__(
        self,
        runner: Runner,
        verb: Verb[T],
        args: tuple[object, ...],
        witness: Witness[T] | None,
    ) -> None:
        self._runner = runner
        self._verb = verb
        self._args = args
        self._witness = witness
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[T] = self._loop.create_future()
        self.since = runner.clock()
        self._begun = False
        self._given_up = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Have a thread make the call, and watch it."""
        runner = self._runner
        try:
            running = runner.pool.submit(self._run)
        except CloudUnavailable as error:
            self.answer.set_exception(error)
            return
        runner.calls.add(self)
        self._timer = self._loop.call_later(
            runner.allowed, self._watch, running
        )
        running.add_done_callback(self._returned)

    def pause(self) -> None:
        """Stop the watch: the limiter holds the request back."""
        self.since = math.inf

    def resume(self) -> None:
        """Start the watch anew, for a request that is about to be sent."""
        self.since = self._runner.clock()

    def _run(self) -> T:
        """Call the verb; on a thread."""
        if self._given_up:
            raise CloudUnavailable("it was given up before it began")
        self._begun = True
        CALL.set(self)
        self.resume()
        runner, status = self._runner, None
        try:
            result = checks.call(
                runner.driver, self._verb, *self._args, runner.timeout
            )
            status = 200
            return result
        except CloudError as error:
            if not isinstance(error, CloudUnavailable):
                status = 400
            raise
        finally:
            took = runner.clock() - self.since
            runner.observe(self._verb, status, took)

    def _watch(self, running: "asyncio.Future[T]") -> None:
        """Give the call up when it has had no answer for too long."""
        runner, now = self._runner, self._loop.time()
        end = self.since + runner.allowed
        if end > now:
            self._timer = self._loop.call_at(
                min(end, now + runner.allowed), self._watch, running
            )
            return
        self._given_up = True
        runner.pool.give_up(running)
        name = f"{name_of(runner.driver)}: {self._verb.name}"
        text = f"{name}: no answer within {runner.timeout:.3g} s"
        LOG.warning("%s; its thread is left", text)
        if self._begun and self._verb.kind != "reading":
            self._fail(OutcomeUnknown(text))
        else:
            self._fail(CloudUnavailable(text))

    def _returned(self, running: "asyncio.Future[T]") -> None:
        runner = self._runner
        runner.calls.discard(self)
        runner.returned_at = self._loop.time()
        if self._timer is not None:
            self._timer.cancel()
        error = running.exception()
        if error is None and self._witness is not None:
            self._witness.arrived(running.result())
        if self.answer.done():
            return
        if error is not None:
            self._fail(error)
        else:
            self.answer.set_result(running.result())

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, OutcomeUnknown) and self._witness is not None:
            self._witness.lost()
        self.answer.set_exception(error)
