"""Calls of a driver's verbs: in turn, watched, and repeated."""

import asyncio
import logging
import math
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from poolmgr.cloud.breaker import Breaker, Circuits
from poolmgr.cloud.pace import Pace, backoff, pause_after, pause_before_retry
from poolmgr.cloud.pool import CALL, Call, CallPool, Note, RateLimiter
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
        pool: CallPool | None,
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
        self._under_way: set[Call[Any]] = set()
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

    async def settle(self) -> None:
        """Wait until all of these tasks have ended; then give up what hangs,
        before the loop is closed."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))
        for call in self._under_way:
            call.task.cancel()

    async def ask(
        self,
        verb: Verb[T],
        *args: object,
        room_until: float = 0.0,
        note: Note[T] | None = None,
    ) -> T:
        """Call a verb until the cloud answers, or a time-out ends it.

        A creation is not repeated when it may have taken effect.

        When the caller is cancelled, a verb that changes something is waited
        for all the same; a second cancel ends that.

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
        attempt = 0
        while True:
            call = Call(self._loop.time, verb, args, note, context.urgent)
            await self._take_slot(call, context, room_until)
            try:
                answer = await self._wait_for(call)
                context.trouble = None
                return answer
            except QuotaExceeded:
                if self._loop.time() >= room_until:
                    raise
            except CloudUnavailable as error:
                if note is not None and isinstance(error, OutcomeUnknown):
                    raise
                attempt += 1
                await self._pause(verb, error, attempt, pauses)

    async def _pause(
        self,
        verb: Verb[Any],
        error: CloudUnavailable,
        attempt: int,
        pauses: Iterator[float],
    ) -> None:
        """Pause before a call is repeated, at least as long as asked for."""
        pause = pause_after(error)
        if not self.circuits.calls[verb.circuit].open:
            pause = max(pause, next(pauses))  # else it waits there
        # Once is nothing; who waits for long wants to know why.
        level = logging.WARNING if attempt == 3 else logging.INFO
        await pause_before_retry(error, pause, level)

    async def _take_slot(
        self, call: Call[Any], context: RequestContext, room_until: float
    ) -> None:
        """Wait until it is the call's turn."""
        loop, verb = asyncio.get_running_loop(), call.verb
        quota = self.circuits.quotas.get(verb.circuit)
        others = [self.circuits.login, self.circuits.calls[verb.circuit]]
        breakers = [quota, *others] if quota else others
        while not self._closed:
            context.doing = f"waiting for {name_of(self.driver)}: {verb.name}"
            for each in breakers:
                if each.open:
                    left = room_until - loop.time()
                    await each.wait(left if each is quota else math.inf)
            call.breakers, call.openings = breakers, _openings(breakers)
            await self._acquire_slot(call)
            # Hundreds may have waited for a slot when a circuit opened.
            if call.openings == _openings(breakers):
                return
            self._free_slot(call)
        raise Closed

    async def _acquire_slot(self, call: Call[Any]) -> None:
        if not call.urgent:
            await self._build_slots.acquire()
        try:
            await self._slots.acquire()
        except asyncio.CancelledError:
            if not call.urgent:
                self._build_slots.release()
            raise

    def _free_slot(self, call: Call[Any]) -> None:
        self._slots.release()
        if not call.urgent:
            self._build_slots.release()

    async def _wait_for(self, call: Call[T]) -> T:
        """Start a call in a task of its own, and wait until it has ended."""
        task = call.task = asyncio.create_task(self._run(call))
        task.add_done_callback(_retrieve)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not call.verb.is_read:
                await asyncio.wait([task])
            raise

    async def _run(self, call: Call[T]) -> T:
        """Have a thread do a call; in a slot, and in a task of its own."""
        error: BaseException | None = None
        try:
            running = self._pool.submit(partial(self._work, call))
            self._under_way.add(call)
            running.add_done_callback(partial(self._returned, call))
            await self._wait_in_time(call, running)
            return running.result()
        except BaseException as raised:
            error = raised
            if call.note is not None and isinstance(error, OutcomeUnknown):
                call.note(None)
            raise
        finally:
            for each, began in zip(call.breakers, call.openings, strict=True):
                each.record(error, began)
            self._free_slot(call)

    def _work(self, call: Call[T]) -> T:
        """Call the verb; on a thread."""
        if call.given_up:
            raise CloudUnavailable("given up before it began")
        CALL.set(call)
        call.begun, call.since = True, call.clock()
        return verbs.call(self.driver, call.verb, *call.args, self._timeout)

    async def _wait_in_time(
        self, call: Call[T], running: "asyncio.Future[T]"
    ) -> None:
        """Wait until a call has returned; give it up if that takes too long.

        :raises CloudUnavailable: it was given up
        """
        allowed = self._timeout + self.pace.grace
        left = allowed
        while left > 0:
            await asyncio.wait([running], timeout=min(left, allowed))
            if running.done():
                return
            left = call.since + allowed - call.clock()
        call.given_up = True
        name = f"{name_of(self.driver)}: {call.verb.name}"
        text = f"{name}: no answer within {self._timeout:.3g} s"
        LOG.warning("%s; its thread is abandoned", text)
        if call.begun and not call.verb.is_read:
            raise OutcomeUnknown(text)
        raise CloudUnavailable(text)

    def _returned(self, call: Call[T], running: "asyncio.Future[T]") -> None:
        """Note what a call has come to, were it late."""
        self._under_way.discard(call)
        self._returned_at = call.clock()
        error = running.exception()
        if error is None and call.note is not None:
            call.note(running.result())
        if call.begun and not self._driver_reports:
            status = 200 if error is None else None
            if isinstance(error, CloudError):
                status = None if isinstance(error, CloudUnavailable) else 400
            took, verb = call.clock() - call.since, call.verb
            told = CloudCall(verb.service, verb.name, status, took)
            tell(self._observer.cloud_called, told)

    def _report(self, call: CloudCall) -> None:
        """See ``Driver.report_call``; on any thread."""

        def report() -> None:
            self._driver_reports = True
            tell(self._observer.cloud_called, call)

        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(report)


def _openings(breakers: Sequence[Breaker]) -> list[int]:
    return [each.openings for each in breakers]


def _retrieve(call: asyncio.Task[Any]) -> None:
    """Have asyncio not complain that nobody waited for an error."""
    if not call.cancelled():
        call.exception()
