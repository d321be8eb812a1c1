"""Calls of a driver's verbs: slots, timeouts, retries, circuit breakers."""

import asyncio
import logging
import math
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from poolmgr.cloud.breaker import SEQUENCE, Circuits, is_answer
from poolmgr.cloud.limiter import RateLimiter
from poolmgr.cloud.pace import Pace, backoff, pause_before_retry
from poolmgr.cloud.pool import CALL, CallPool, DriverCall, OnCreated
from poolmgr.drivers.base import Driver
from poolmgr.drivers.verbs import Verb, name_of
from poolmgr.errors import (
    Closed,
    CloudUnavailable,
    OutcomeUnknown,
    QuotaExceeded,
)
from poolmgr.events import CloudCall, Observer, tell
from poolmgr.plugins import as_poolmgr_error
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds after its timeout that a driver has to raise its own error.
_DRIVER_GRACE = 0.5


class Calls:
    """Calls a driver.

    A call outlives its caller: its slot is free again when it returns, or
    when it is given up after its timeout.

    :param driver: the driver; its ``limiter`` and ``report_call`` are set
    :param pace: how long to wait
    :param pool: runs the verbs; None: threads
    :param observer: told of each request
    :ivar driver: the driver
    :ivar pace: how long to wait
    :ivar circuits: the circuit breakers
    :ivar tasks: the tasks of :meth:`own` that have not ended
    :ivar loop: the loop of the last call, or None
    :ivar closed: whether no more calls are started
    """

    def __init__(
        self,
        driver: Driver,
        pace: Pace,
        pool: CallPool | None,
        observer: Observer | None,
    ) -> None:
        self.driver, self.pace = driver, pace
        self.circuits = Circuits(pace)
        self._driver_name = name_of(driver)
        limits = driver.limits
        self._timeout = limits.call_timeout
        # Each thread that hangs has a replacement.
        self._pool = pool or CallPool(2 * limits.calls_at_once)
        # Only urgent calls may use the last quarter of the slots, so they do
        # not wait while the cloud is slow to create devices.
        most, urgent = limits.calls_at_once, limits.calls_at_once // 4
        self._slots = asyncio.Semaphore(most)
        self._build_slots = asyncio.Semaphore(max(1, most - urgent))
        self.loop: asyncio.AbstractEventLoop | None = None
        self._in_flight: set[DriverCall[Any]] = set()
        self._returned_at = -math.inf
        self.tasks: set[asyncio.Task[Any]] = set()
        self.closed = False
        self._observer = observer or Observer()
        self._driver_reports = False
        # A driver may be a frozen dataclass.
        limiter = RateLimiter(limits.calls_per_second)
        object.__setattr__(driver, "limiter", limiter)
        object.__setattr__(driver, "report_call", self._report)

    @property
    def overdue(self) -> float:
        """Seconds for which calls are overdue and none has returned.

        A call that was given up counts until its thread returns.
        """
        # Health checks run on other threads: tuple() copies at once.
        in_flight = tuple(self._in_flight)
        since = min((call.since for call in in_flight), default=math.inf)
        if since == math.inf:
            return 0.0
        waited = in_flight[0].loop.time() - max(since, self._returned_at)
        # Connecting may take the timeout for each address of a host.
        return max(0.0, waited - 2 * self._timeout - _DRIVER_GRACE)

    def close(self) -> None:
        """Start no more calls, and end the threads when their calls do."""
        self.closed = True
        self._pool.close()

    def own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine in a task that is not cancelled with its caller."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def settle(self) -> None:
        """Wait until all tasks of :meth:`own` have ended.

        A task that does not end in the time of a clean-up is left, because it
        may be that of a plugin that hangs.
        """
        # The end of its time cancels a task, but not its call in flight.
        seconds = self.pace.clean_up + self._timeout + 2 * _DRIVER_GRACE
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.tasks:
                    await asyncio.wait(tuple(self.tasks))

    async def ask(
        self,
        verb: Verb[T],
        *args: object,
        quota_until: float = 0.0,
        on_created: OnCreated[T] | None = None,
    ) -> T:
        """Call a verb, and repeat it while the cloud is unavailable.

        A creation is not repeated when it may have taken effect.  A cancel
        during a changing verb takes effect after it, a second one at once.

        :param quota_until: how long to wait for quota, on the loop's clock
        :param on_created: see ``OnCreated``; it may be called after the return
        :raises CloudError: the cloud refuses
        :raises PluginFailed: the driver has a bug
        """
        self.loop = loop = asyncio.get_running_loop()
        context = current() or RequestContext()
        pauses = backoff(*self.pace.retry)
        while True:
            call = DriverCall(verb, args, context.urgent, on_created, loop)
            await self._begin(call, context, quota_until)
            try:
                answer = await asyncio.shield(call.outcome)
                context.trouble = None
                return answer
            except asyncio.CancelledError:
                if not verb.is_read:
                    await asyncio.wait([call.outcome])
                raise
            except QuotaExceeded:
                if loop.time() >= quota_until:
                    raise
            except CloudUnavailable as error:
                await self._pause(call, error, pauses)

    async def _pause(
        self,
        call: DriverCall[Any],
        error: CloudUnavailable,
        pauses: Iterator[float],
    ) -> None:
        """Pause before a repetition, or raise ``error`` if there is none."""
        if call.on_created and isinstance(error, OutcomeUnknown):
            raise error
        # While the circuit is open, the breaker makes the pauses.
        is_open = self.circuits.calls[call.verb.circuit].open
        await pause_before_retry(error, 0 if is_open else next(pauses))

    async def _begin(
        self,
        call: DriverCall[Any],
        context: RequestContext,
        quota_until: float,
    ) -> None:
        """Start a call once its circuits are closed and a slot is free."""
        verb, circuits = call.verb, self.circuits
        quota = circuits.quotas.get(verb.circuit)
        others = [circuits.login, circuits.calls[verb.circuit]]
        call.breakers = [quota, *others] if quota else others
        while not self.closed:
            context.doing = f"waiting for {self._driver_name}: {verb.name}"
            for each in call.breakers:
                if each.open:
                    left = quota_until - call.loop.time()
                    await each.wait(left if each is quota else None)
            call.number = next(SEQUENCE)
            await self._acquire_slot(call)
            # A circuit may have opened while hundreds waited for a slot.
            if call.number > max([each.opened for each in call.breakers]):
                self._start(call)
                return
            self._release_slot(call)
        raise Closed

    async def _acquire_slot(self, call: DriverCall[Any]) -> None:
        # In this order, so that a build that waits holds no common slot.
        if not call.urgent:
            await self._build_slots.acquire()
        try:
            await self._slots.acquire()
        except asyncio.CancelledError:
            if not call.urgent:
                self._build_slots.release()
            raise

    def _release_slot(self, call: DriverCall[Any]) -> None:
        self._slots.release()
        if not call.urgent:
            self._build_slots.release()

    def _start(self, call: DriverCall[Any]) -> None:
        """Start a call on a thread."""
        call.since = call.loop.time()
        self._in_flight.add(call)
        self._watch(call)
        running = self._pool.submit(partial(self._run, call))
        running.add_done_callback(partial(self._returned, call))

    def _run(self, call: DriverCall[T]) -> T:
        """Call the verb, on a thread.

        :raises PoolmgrError: raised by the driver
        :raises PluginFailed: the driver has a bug
        """
        if call.outcome.done():
            raise CloudUnavailable("given up before it began")
        CALL.set(call)
        call.begun, call.since = True, call.loop.time()
        verb = call.verb
        try:
            method = getattr(self.driver, verb.name)
            return verb.checked(method(*call.args, self._timeout))
        except BaseException as error:
            doing = f"{self._driver_name}: {verb.name}"
            raise as_poolmgr_error(error, doing)  # noqa: B904 - has its cause

    def _watch(self, call: DriverCall[Any]) -> None:
        """Give up a call after its timeout, or check again later."""
        allowed = self._timeout + _DRIVER_GRACE
        left = call.since + allowed - call.loop.time()
        if left > 0:
            # Infinite while the call waits for the rate limit.
            pause = min(left, allowed)
            call.watchdog = call.loop.call_later(pause, self._watch, call)
            return
        late = "no answer" if call.begun else "no thread was free"
        what = f"{self._driver_name}: {call.verb.name}"
        text = f"{what}: {late} within {self._timeout:.3g} s"
        LOG.warning("%s; the call is abandoned", text)
        is_unknown = call.begun and not call.verb.is_read
        error = OutcomeUnknown if is_unknown else CloudUnavailable
        self._end(call, error(text))

    def _returned(
        self, call: DriverCall[T], running: "asyncio.Future[T]"
    ) -> None:
        """Handle the result of a call, which may have been given up."""
        self._in_flight.discard(call)
        self._returned_at = call.loop.time()
        error = running.exception()
        if error is None and call.on_created is not None:
            call.on_created(running.result())
        if call.begun and not self._driver_reports:
            # One request for each verb.
            status = 200 if error is None else 400
            answered = status if is_answer(error) else None
            took, verb = call.loop.time() - call.since, call.verb
            report = CloudCall(verb.service, verb.name, answered, took)
            tell(self._observer.cloud_called, report)
        if not call.outcome.done():
            self._end(call, error)
            if error is None:
                call.outcome.set_result(running.result())

    def _end(self, call: DriverCall[Any], error: BaseException | None) -> None:
        """Free a call's slot, and pass an error to its caller."""
        call.watchdog.cancel()
        for each in call.breakers:
            each.record(error, call.number)
        self._release_slot(call)
        if call.on_created is not None and isinstance(error, OutcomeUnknown):
            call.on_created(None)
        if error is not None:
            call.outcome.set_exception(error)
            # Retrieve it, so asyncio does not log it if the caller has gone.
            call.outcome.exception()

    def _report(self, call: CloudCall) -> None:
        """See ``Driver.report_call``; called on any thread."""
        self._driver_reports = True
        if self.loop is not None:
            observe = self._observer.cloud_called
            with suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(tell, observe, call)
