"""Calls of a driver's verbs on threads; those that hang are given up."""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from poolmgr.cloud import checks
from poolmgr.cloud.checks import Verb
from poolmgr.cloud.pool import WATCH, CallPool, Pool, RateLimiter, Watch
from poolmgr.drivers.base import Driver
from poolmgr.drivers.lifecycle import name_of
from poolmgr.errors import CloudError, CloudUnavailable, OutcomeUnknown
from poolmgr.events import CloudCall, Observer, tell

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Told what a creation has made, were it late; None when nobody knows.
Note = Callable[[T | None], None]


class Runner:
    """Has threads call the verbs of a driver, and reports the calls.

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
        # For each thread that hangs there is another.
        self._pool = pool or CallPool(2 * limits.calls_at_once)
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
        since = min((c.since for c in tuple(self.calls)), default=math.inf)
        if since == math.inf:
            return 0.0
        # Connecting has the time-out once for each address of a host.
        latest = max(since, self.returned_at)
        return max(0.0, self.clock() - latest - self.allowed - self.timeout)

    def close(self) -> None:
        """End the threads as soon as their calls end."""
        self._pool.close()

    def start(
        self,
        verb: Verb[T],
        args: tuple[object, ...],
        note: Note[T] | None = None,
    ) -> "asyncio.Future[T]":
        """Have a thread call a verb; the answer comes in time, or an error.

        :param note: told what a creation has made, at any time
        """
        loop = asyncio.get_running_loop()
        self.clock = loop.time
        call = _Call(self, verb, args, note)
        running = self._pool.submit(call.work)
        self.calls.add(call)
        call.timer = loop.call_later(self.allowed, call.check)
        running.add_done_callback(call.returned)
        return call.answer

    def observe(self, call: CloudCall) -> None:
        """Tell of a call, unless the driver tells of its requests itself."""
        if not self._driver_reports:
            tell(self._observer.cloud_called, call)

    def _report(self, call: CloudCall) -> None:
        self._driver_reports = True
        tell(self._observer.cloud_called, call)


class _Call(Watch, Generic[T]):
    """One call of a verb.

    :ivar answer: what the verb returns, or an error
    :ivar timer: when to look whether it is overdue
    """

    timer: asyncio.TimerHandle

    def __init__(
        self,
        runner: Runner,
        verb: Verb[T],
        args: tuple[object, ...],
        note: Note[T] | None,
    ) -> None:
        super().__init__(runner.clock)
        self._runner = runner
        self._verb = verb
        self._args = args
        self._note = note
        self._begun = False
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[T] = self._loop.create_future()

    def work(self) -> T:
        """Call the verb; on a thread."""
        if self.answer.done():
            raise CloudUnavailable("it was given up before it began")
        self._begun = True
        WATCH.set(self)
        self.restart()
        runner, verb, status = self._runner, self._verb, None
        try:
            args = (*self._args, runner.timeout)
            result = checks.call(runner.driver, verb, *args)
            status = 200
            return result
        except CloudError as error:
            if not isinstance(error, CloudUnavailable):
                status = 400
            raise
        finally:
            took = runner.clock() - self.since
            runner.observe(CloudCall(verb.service, verb.name, status, took))

    def check(self) -> None:
        """Give it up if it has had no answer for too long."""
        runner, now = self._runner, self._loop.time()
        end = self.since + runner.allowed
        if end > now:
            when = min(end, now + runner.allowed)
            self.timer = self._loop.call_at(when, self.check)
            return
        name = f"{name_of(runner.driver)}: {self._verb.name}"
        text = f"{name}: no answer within {runner.timeout:.3g} s"
        LOG.warning("%s; its thread is left", text)
        if self._begun and self._verb.kind != "reading":
            self._fail(OutcomeUnknown(text))
        else:
            self._fail(CloudUnavailable(text))

    def returned(self, running: "asyncio.Future[T]") -> None:
        """Pass on what came of it, perhaps late."""
        self._runner.calls.discard(self)
        self._runner.returned_at = self._loop.time()
        self.timer.cancel()
        error = running.exception()
        if error is None and self._note is not None:
            self._note(running.result())
        if self.answer.done():
            return
        if error is not None:
            self._fail(error)
        else:
            self.answer.set_result(running.result())

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, OutcomeUnknown) and self._note is not None:
            self._note(None)
        self.answer.set_exception(error)
        self.answer.exception()  # perhaps nobody waits for it any more
