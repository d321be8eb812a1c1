"""Calls of a driver's verbs: in turn, and repeated."""

import asyncio
import logging
import math
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any, TypeVar, get_args

from poolmgr.cloud.breaker import Breaker
from poolmgr.cloud.capacity import Capacity
from poolmgr.cloud.checks import Kind, Service, Verb
from poolmgr.cloud.pace import Pace, backoff, pause_after
from poolmgr.cloud.pool import Pool, Slots
from poolmgr.cloud.runner import Note, Runner
from poolmgr.drivers.base import Driver
from poolmgr.drivers.lifecycle import name_of
from poolmgr.errors import (
    AuthenticationFailed,
    Closed,
    CloudError,
    CloudUnavailable,
    OutcomeUnknown,
    QuotaExceeded,
)
from poolmgr.events import Observer
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Failures in a row after which a service is tried by single calls only.
_FAILURES = 5
_THINGS = {"compute": "devices", "network": "floating IPs"}


class _CircuitOpened(Exception):
    """A circuit breaker opened while the call waited for a slot."""


class Calls:
    """Calls a driver, and keeps the tasks that nobody cancels.

    :param driver: the driver; its limiter is set here
    :param pace: the times of waiting
    :param pool: runs the verbs; None for threads
    :param observer: told of each request
    :ivar driver: the driver
    :ivar pace: the times of waiting
    :ivar runner: calls it on threads
    :ivar breakers: the circuit breakers by kind and service
    :ivar login: open while the cloud refuses the credentials
    :ivar capacity: what is known of the cloud's room
    """

    def __init__(
        self,
        driver: Driver,
        pace: Pace,
        pool: Pool | None,
        observer: Observer | None,
    ) -> None:
        self.driver, self.pace = driver, pace
        self.runner = Runner(driver, pace.grace, pool, observer)
        self._slots = Slots(driver.limits.calls_at_once)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self.breakers = {
            f"{kind} {service}": _breaker(service, kind, pace)
            for service in get_args(Service)
            for kind in get_args(Kind)
        }
        self.login = self.breakers["login"] = Breaker(
            "logging in",
            AuthenticationFailed,
            AuthenticationFailed,
            pace.login_first,
            pace.login_longest,
            # Nobody waits for it: each job's own line has the reason.
            log_level=logging.INFO,
        )
        self.capacity = Capacity(pace)
        self._quotas = {
            "create_device": self.capacity.devices,
            "create_ip": self.capacity.ips,
        }

    def close(self) -> None:
        """Call no verb from now on."""
        self._closed = True
        self.runner.close()

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
        pauses = backoff(self.pace.retry_first, self.pace.retry_longest)
        for attempt, pause in enumerate(pauses, 1):
            try:
                return await self._ask_once(verb, args, room_until, note)
            except QuotaExceeded:
                if not self._may_wait_for_room(verb, room_until):
                    raise
            except CloudUnavailable as error:
                if verb.kind == "making" and isinstance(error, OutcomeUnknown):
                    raise
                asked = pause_after(error)
                if self.breakers[verb.circuit].open:
                    pause = asked  # it waits there
                # Once is nothing; who waits for long wants to know why.
                level = logging.WARNING if attempt == 3 else logging.INFO
                await pause_before_retry(error, max(pause, asked), level)
        raise AssertionError("it is asked until this is left")

    def _may_wait_for_room(self, verb: Verb[Any], until: float) -> bool:
        quota = self._quotas.get(verb.name)
        now = asyncio.get_running_loop().time()
        return quota is not None and quota.may_wait and now < until

    async def _ask_once(
        self,
        verb: Verb[T],
        args: tuple[object, ...],
        room_until: float,
        note: Note[T] | None,
    ) -> T:
        """Call a verb once, when it is its turn."""
        context = current() or RequestContext()
        while True:
            if self._closed:
                raise Closed
            context.doing = f"waiting for {name_of(self.driver)}: {verb.name}"
            try:
                async with AsyncExitStack() as stack:
                    attempts = [
                        await stack.enter_async_context(breaker.attempt(wait))
                        for breaker, wait in self._circuits(verb, room_until)
                    ]
                    await self._slots.acquire(context.urgent)
                    if not all(attempt.may_go_on for attempt in attempts):
                        # Hundreds may have waited for a slot when it opened.
                        self._slots.release(context.urgent)
                        raise _CircuitOpened
                    answer = await self._call(verb, args, context.urgent, note)
                    context.trouble = None
                    return answer
            except _CircuitOpened:
                continue

    def _circuits(
        self, verb: Verb[T], room_until: float
    ) -> Iterator[tuple[Breaker, float]]:
        """The breakers that a verb has to pass, and how long it may wait."""
        if verb.name in self._quotas:
            now = asyncio.get_running_loop().time()
            yield self._quotas[verb.name], room_until - now
        yield self.login, 0.0
        yield self.breakers[verb.circuit], math.inf

    async def _call(
        self,
        verb: Verb[T],
        args: tuple[object, ...],
        urgent: bool,
        note: Note[T] | None,
    ) -> T:
        call = self.runner.start(verb, args, note)
        answer = asyncio.shield(call)
        # The slot is the call's, not its caller's.  It is free after the
        # caller has the answer: a failure stops whoever waits for the slot.
        call.add_done_callback(lambda _: self._slots.release(urgent))
        try:
            return await answer
        except asyncio.CancelledError:
            if verb.kind != "reading":
                await asyncio.wait([call])
            raise


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


def _breaker(service: Service, kind: Kind, pace: Pace) -> Breaker:
    return Breaker(
        f"{kind} {_THINGS[service]}",
        CloudUnavailable,
        CloudUnavailable,
        pace.breaker_first,
        pace.breaker_longest,
        _FAILURES,
        answer=CloudError,
    )
