"""Calls of a driver's verbs: in turn, on a thread, watched, and repeated."""

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Protocol, TypeVar, get_args

from poolmgr.cloud import checks
from poolmgr.cloud.breaker import Breaker
from poolmgr.cloud.checks import Kind, Service, Verb
from poolmgr.cloud.limiter import CALL, RateLimiter, Slots
from poolmgr.cloud.pace import Pace, backoff
from poolmgr.cloud.pool import CallPool, Pool
from poolmgr.drivers.base import Driver
from poolmgr.drivers.lifecycle import name_of
from poolmgr.errors import (
    AuthenticationFailed,
    Busy,
    Closed,
    CloudError,
    CloudUnavailable,
    OutcomeUnknown,
    PoolmgrError,
)
from poolmgr.events import CloudCall, Guarded, Observer
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

#: Failures in a row after which a service is tried by single calls only.
_FAILURES = 5
_THINGS = {"compute": "devices", "network": "floating IPs"}


class Witness(Protocol[T_contra]):
    """Somebody who wants to know what comes of a creation."""

    def arrived(self, thing: T_contra, /) -> None:
        """The verb has returned this, perhaps late."""

    def lost(self) -> None:
        """Nobody knows whether the request took effect."""


class _CircuitOpened(Exception):
    """The breaker opened while the call waited for a slot."""


class _Call:
    """One call of a verb that is under way.

    :ivar since: when it began, or sent its last request; infinite while it
        waits at the limiter
    :ivar begun: whether a thread has begun it
    :ivar given_up: whether nobody waits for it any more
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.since = clock()
        self.begun = False
        self.given_up = False

    def pause(self) -> None:
        """Stop the watch: the limiter holds the request back."""
        self.since = math.inf

    def resume(self) -> None:
        """Start the watch anew, for a request that is about to be sent."""
        self.since = self._clock()


class Calls:
    """Calls a driver.

    :param driver: the driver; its limiter is set here
    :param pace: the times of waiting
    :param pool: runs the verbs
    :param observer: told of each request
    :ivar breakers: by service and kind
    :ivar login: open while the cloud refuses the credentials
    """

    def __init__(
        self,
        driver: Driver,
        pace: Pace,
        pool: Pool | None,
        observer: Observer | None,
    ) -> None:
        limits = driver.limits
        self._driver = driver
        self._pace = pace
        self._pool = pool or CallPool(limits.calls_at_once)
        self._slots = Slots(limits.calls_at_once)
        self._observer = Guarded(observer or Observer())
        self._timeout = limits.call_timeout
        self._calls: set[_Call] = set()
        self._returned = -math.inf
        self._clock: Callable[[], float] = lambda: 0.0
        self._driver_reports = False
        self._closed = False
        self.breakers = {
            (service, kind): _breaker(service, kind, pace)
            for service in get_args(Service)
            for kind in get_args(Kind)
        }
        self.login = Breaker(
            "logging in",
            AuthenticationFailed,
            AuthenticationFailed,
            first=pace.login_first,
            longest=pace.login_longest,
            level=logging.DEBUG,  # whoever is refused says so
        )
        # A driver may be a frozen dataclass.
        limiter = RateLimiter(limits.calls_per_second)
        object.__setattr__(driver, "limiter", limiter)
        object.__setattr__(driver, "report_call", self._report)

    def close(self) -> None:
        """Call no verb from now on."""
        self._closed = True
        self._pool.close()

    @property
    def overdue(self) -> float:
        """Seconds since a call should have returned, and none has.

        What was given up has not returned while its thread hangs.
        """
        calls = tuple(self._calls)
        since = min((call.since for call in calls), default=math.inf)
        if since == math.inf:
            return 0.0
        # Connecting has the time-out once for each address of a host.
        latest = max(since, self._returned)
        allowed = 2 * self._timeout + self._pace.grace
        return max(0.0, self._clock() - latest - allowed)

    async def ask(self, verb: Verb[T], *args: object) -> T:
        """Call a verb that may be repeated, until the cloud answers.

        Whoever does not want to wait for ever ends it by a time-out.

        :raises CloudError: the cloud says no
        """
        pauses = backoff(self._pace.retry_first, self._pace.retry_longest)
        context = current() or RequestContext()
        for attempt in count(1):
            try:
                answer = await self.once(verb, *args)
            except CloudUnavailable as error:
                context.trouble = error
                pause = max(next(pauses), error.pause)
                if self.breakers[verb.service, verb.kind].open:
                    pause = error.pause  # it waits there
                # Once is nothing; who waits for long wants to know why.
                level = logging.WARNING if attempt == 3 else logging.INFO
                LOG.log(level, "%s; again in %.1f s", error, pause)
                await sleep_within(context, pause, error)
            else:
                context.trouble = None
                return answer
        raise AssertionError("it is asked until this is left")

    async def once(
        self,
        verb: Verb[T],
        *args: object,
        witness: Witness[T] | None = None,
    ) -> T:
        """Call a verb once, when it is its turn.

        When the caller is cancelled, a verb that changes something is waited
        for all the same, so that what is done next comes after it; a second
        cancel ends that.

        :param witness: told what comes of it, even if that is when nobody
            waits for it any more
        :raises CloudError: the cloud says no, or nothing
        :raises PluginFailed: the driver is defective
        """
        context = current() or RequestContext()
        while True:
            if self._closed:
                raise Closed
            context.doing = f"waiting for {name_of(self._driver)}: {verb.name}"
            try:
                async with self.login.attempt(max_wait=0.0):
                    return await self._attempt(
                        verb, args, context.urgent, witness
                    )
            except _CircuitOpened:
                continue
            except asyncio.CancelledError:
                reason = self.breakers[verb.service, verb.kind].reason
                if reason and context.trouble is None:
                    # Why the service works for nobody, as far as is known.
                    context.trouble = CloudUnavailable(reason)
                raise

    async def _attempt(
        self,
        verb: Verb[T],
        args: tuple[object, ...],
        urgent: bool,
        witness: Witness[T] | None,
    ) -> T:
        breaker = self.breakers[verb.service, verb.kind]
        async with breaker.attempt() as attempt:
            await self._slots.acquire(urgent)
            if not breaker.allows(attempt):
                # Hundreds may have waited for a slot when it opened.
                self._slots.release(urgent)
                raise _CircuitOpened
            answer = self._start(verb, args, urgent, witness)
            try:
                return await self._wait(answer, verb)
            except CloudError as error:
                if _is_failure(error):
                    raise
                refusal = error
        # The service works, and says no.
        raise refusal

    async def _wait(self, answer: "asyncio.Future[T]", verb: Verb[T]) -> T:
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            if verb.kind != "reading":
                await asyncio.wait([answer])
            raise

    def _start(
        self,
        verb: Verb[T],
        args: tuple[object, ...],
        urgent: bool,
        witness: Witness[T] | None,
    ) -> "asyncio.Future[T]":
        """Have a thread call a verb; the answer comes in time, or an error.

        The slot is free again when there is an answer, or an error.
        """
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        call = _Call(loop.time)
        answer: asyncio.Future[T] = loop.create_future()

        def ended(answer: "asyncio.Future[T]") -> None:
            self._slots.release(urgent)
            is_lost = isinstance(answer.exception(), OutcomeUnknown)
            if is_lost and witness is not None:
                witness.lost()

        answer.add_done_callback(ended)
        try:
            running = self._pool.submit(partial(self._do, call, verb, args))
        except CloudUnavailable as error:
            answer.set_exception(error)
            return answer
        self._calls.add(call)

        def watch() -> None:
            if running.done():
                return
            end = call.since + self._timeout + self._pace.grace
            if end > loop.time():
                loop.call_at(min(end, loop.time() + self._timeout), watch)
                return
            call.given_up = True
            self._pool.give_up(running)
            answer.set_exception(self._no_answer(verb, call))

        def returned(running: "asyncio.Future[T]") -> None:
            timer.cancel()
            self._calls.discard(call)
            self._returned = loop.time()
            error = running.exception()
            if error is None and witness is not None:
                witness.arrived(running.result())
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(running.result())

        timer = loop.call_later(self._timeout + self._pace.grace, watch)
        running.add_done_callback(returned)
        return answer

    def _do(self, call: _Call, verb: Verb[T], args: tuple[object, ...]) -> T:
        """Call a verb; on a thread."""
        if call.given_up:
            raise CloudUnavailable("it was given up before it began")
        call.begun = True
        CALL.set(call)
        call.resume()
        status: int | None = None
        try:
            result = checks.call(self._driver, verb, *args, self._timeout)
            status = 200
            return result
        except CloudError as error:
            if not isinstance(error, CloudUnavailable):
                status = 400
            raise
        finally:
            if not self._driver_reports:
                took = self._clock() - call.since
                self._observer.cloud_called(
                    CloudCall(verb.service, verb.name, status, took)
                )

    def _report(self, call: CloudCall) -> None:
        self._driver_reports = True
        self._observer.cloud_called(call)

    def _no_answer(self, verb: Verb[T], call: _Call) -> CloudUnavailable:
        name = name_of(self._driver)
        text = f"{name}: {verb.name}: no answer within {self._timeout:.3g} s"
        LOG.warning("%s; its thread is left", text)
        if call.begun and verb.kind != "reading":
            return OutcomeUnknown(text)
        return CloudUnavailable(text)


async def sleep_within(
    context: RequestContext, pause: float, error: PoolmgrError
) -> None:
    """Sleep, but raise at once if there is no time for that.

    :raises PoolmgrError: the error given
    """
    if pause >= context.end - asyncio.get_running_loop().time():
        raise error
    await asyncio.sleep(pause)


def _is_failure(error: CloudError) -> bool:
    """Tell whether a service did not do its work."""
    return isinstance(error, CloudUnavailable) and not isinstance(error, Busy)


def _breaker(service: Service, kind: Kind, pace: Pace) -> Breaker:
    return Breaker(
        f"{kind} {_THINGS[service]}",
        CloudUnavailable,
        CloudUnavailable,
        threshold=_FAILURES,
        first=pace.breaker_first,
        longest=pace.breaker_longest,
    )
