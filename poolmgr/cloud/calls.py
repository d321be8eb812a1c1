"""Calls of a driver's verbs: in turn, watched, and repeated."""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from poolmgr.cloud.breaker import Breaker, Circuits
from poolmgr.cloud.pace import Pace, backoff, pause_after
from poolmgr.cloud.pool import WATCH, CallPool, Pool, RateLimiter, Watch
from poolmgr.drivers import verbs
from poolmgr.drivers.base import Driver
from poolmgr.drivers.verbs import Verb, name_of
from poolmgr.errors import (
    Closed,
    CloudError,
    CloudUnavailable,
    OutcomeUnknown,
    QuotaExceeded,
)
from poolmgr.events import CloudCall, Observer, tell
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Told what a creation has made, were it late; None when nobody knows.
Note = Callable[[T | None], None]
#: The breakers that a call has passed, and how often each had opened.
Passed = list[tuple[Breaker, int]]


class Calls:
    """Calls a driver, and keeps the tasks that nobody cancels.

    :param driver: the driver; its limiter is set here
    :param pace: the times of waiting
    :param pool: runs the verbs; None for threads
    :param observer: told of each request
    :ivar driver: the driver
    :ivar pace: the times of waiting
    :ivar circuits: the circuit breakers
    """

    def __init__(
        self,
        driver: Driver,
        pace: Pace,
        pool: Pool | None,
        observer: Observer | None,
    ) -> None:
        self.driver, self.pace = driver, pace
        self.circuits = Circuits(pace)
        limits = driver.limits
        self._timeout = limits.call_timeout
        # For each thread that hangs there is another.
        self._pool = pool or CallPool(2 * limits.calls_at_once)
        # A quarter of the slots is for urgent calls alone, so that none of
        # them waits for builds that the cloud is slow to take.
        most, urgent = limits.calls_at_once, limits.calls_at_once // 4
        self._slots = asyncio.Semaphore(most)
        self._build_slots = asyncio.Semaphore(max(1, most - urgent))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._under_way: set[Watch] = set()
        self._returned_at = -math.inf
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
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
        under_way = tuple(self._under_way)
        since = min((each.since for each in under_way), default=math.inf)
        if since == math.inf:
            return 0.0
        latest = max(since, self._returned_at)
        # Connecting has the time-out once for each address of a host.
        allowed = 2 * self._timeout + self.pace.grace
        return max(0.0, under_way[0].clock() - latest - allowed)

    def close(self) -> None:
        """Call no verb from now on; threads end as soon as their calls do."""
        self._closed = True
        self._pool.close()

    def own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something in a task that nobody cancels."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def settled(self) -> None:
        """Wait until all of these tasks have ended."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def ask(
        self,
        verb: Verb[T],
        *args: object,
        room_until: float = 0.0,
        note: Note[T] | None = None,
    ) -> T:
        """Call a verb until the cloud answers.

        Whoever does not want to wait for ever ends it by a time-out.  A
        creation is not repeated when it may have taken effect.

        When the caller is cancelled, a verb that changes something is waited
        for all the same, so that what is done next comes after it; a second
        cancel ends that.

        :param room_until: how long to wait for room in the cloud, by the
            loop's clock
        :param note: told what a creation has made, even if that is when
            nobody waits for it any more
        :raises CloudError: the cloud says no
        :raises PluginFailed: the driver is defective
        """
        self._loop = asyncio.get_running_loop()
        context = current() or RequestContext()
        pauses = backoff(self.pace.retry_first, self.pace.retry_longest)
        for attempt, pause in enumerate(pauses, 1):
            passed = await self._take_slot(verb, context, room_until)
            call = self._loop.create_task(
                self._call(verb, args, note, passed, context.urgent)
            )
            call.add_done_callback(_retrieve)
            try:
                answer = await asyncio.shield(call)
                context.trouble = None
                return answer
            except asyncio.CancelledError:
                if not verb.is_read:
                    await asyncio.wait([call])
                raise
            except QuotaExceeded:
                if self._loop.time() >= room_until:
                    raise
            except CloudUnavailable as error:
                if note is not None and isinstance(error, OutcomeUnknown):
                    raise
                asked = pause_after(error)
                if self.circuits.calls[verb.circuit].open:
                    pause = asked  # it waits there
                # Once is nothing; who waits for long wants to know why.
                level = logging.WARNING if attempt == 3 else logging.INFO
                await pause_before_retry(error, max(pause, asked), level)
        raise AssertionError("it is asked until this is left")

    async def _take_slot(
        self, verb: Verb[Any], context: RequestContext, room_until: float
    ) -> Passed:
        """Wait until the verb may be called."""
        loop = asyncio.get_running_loop()
        breakers = self.circuits.of(verb)
        while not self._closed:
            context.doing = f"waiting for {name_of(self.driver)}: {verb.name}"
            for breaker in breakers:
                if breaker.open:
                    is_quota = breaker is self.circuits.quotas.get(verb.name)
                    wait = room_until - loop.time() if is_quota else math.inf
                    await breaker.wait(wait)
            passed = [(each, each.openings) for each in breakers]
            if not context.urgent:
                await self._build_slots.acquire()
            try:
                await self._slots.acquire()
            except asyncio.CancelledError:
                if not context.urgent:
                    self._build_slots.release()
                raise
            # Hundreds may have waited for a slot when a circuit opened.
            if all(each.openings == count for each, count in passed):
                return passed
            self._free_slot(context.urgent)
        raise Closed

    def _free_slot(self, urgent: bool) -> None:
        self._slots.release()
        if not urgent:
            self._build_slots.release()

    async def _call(
        self,
        verb: Verb[T],
        args: tuple[object, ...],
        note: Note[T] | None,
        passed: Passed,
        urgent: bool,
    ) -> T:
        """Have a thread call a verb; in a slot, and in a task of its own."""
        watch = Watch(asyncio.get_running_loop().time)
        running = self._pool.submit(partial(self._work, watch, verb, args))
        self._under_way.add(watch)
        running.add_done_callback(partial(self._returned, watch, verb, note))
        error: BaseException | None = None
        try:
            await self._wait_in_time(watch, verb, running)
            return running.result()
        except BaseException as raised:
            error = raised
            if note is not None and isinstance(error, OutcomeUnknown):
                note(None)
            raise
        finally:
            for breaker, openings in passed:
                breaker.record(error, openings)
            self._free_slot(urgent)

    def _work(
        self, watch: Watch, verb: Verb[T], args: tuple[object, ...]
    ) -> T:
        """Call a verb; on a thread."""
        if watch.given_up:
            raise CloudUnavailable("it was given up before it began")
        WATCH.set(watch)
        watch.begun, watch.since = True, watch.clock()
        return verbs.call(self.driver, verb, *args, self._timeout)

    async def _wait_in_time(
        self, watch: Watch, verb: Verb[Any], running: "asyncio.Future[Any]"
    ) -> None:
        """Wait until a call has returned; give it up if that takes too long.

        :raises CloudUnavailable: it was given up
        """
        allowed = self._timeout + self.pace.grace
        while not running.done():
            left = watch.since + allowed - watch.clock()
            if left <= 0:
                break
            await asyncio.wait([running], timeout=min(left, allowed))
        else:
            return
        watch.given_up = True
        name = f"{name_of(self.driver)}: {verb.name}"
        text = f"{name}: no answer within {self._timeout:.3g} s"
        LOG.warning("%s; its thread is left", text)
        if watch.begun and not verb.is_read:
            raise OutcomeUnknown(text)
        raise CloudUnavailable(text)

    def _returned(
        self,
        watch: Watch,
        verb: Verb[T],
        note: Note[T] | None,
        running: "asyncio.Future[T]",
    ) -> None:
        """Note what a call has come to, were it late."""
        self._under_way.discard(watch)
        self._returned_at = watch.clock()
        error = running.exception()
        if error is None and note is not None:
            note(running.result())
        if watch.begun and not self._driver_reports:
            status = 200 if error is None else None
            if isinstance(error, CloudError):
                status = None if isinstance(error, CloudUnavailable) else 400
            took = watch.clock() - watch.since
            call = CloudCall(verb.service, verb.name, status, took)
            tell(self._observer.cloud_called, call)

    def _report(self, call: CloudCall) -> None:
        """See ``Driver.report_call``; on any thread."""

        def report() -> None:
            self._driver_reports = True
            tell(self._observer.cloud_called, call)

        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(report)


def _retrieve(call: asyncio.Task[Any]) -> None:
    """Have asyncio not complain that nobody waited for an error."""
    if not call.cancelled():
        call.exception()


async def pause_before_retry(
    error: CloudUnavailable, pause: float, level: int = logging.INFO
) -> None:
    """Sleep before a retry; raise at once if there is no time for that.

    :param error: why there is one
    :raises CloudUnavailable: the error given
    """
    context = current() or RequestContext()
    context.trouble = error
    if pause >= context.end - asyncio.get_running_loop().time():
        raise error
    LOG.log(level, "%s; retrying in %.1f s", error, pause)
    await asyncio.sleep(pause)
