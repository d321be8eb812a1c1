"""Calls of a driver's verbs: in turn, on a thread, watched, and repeated."""

import asyncio
import logging
from itertools import count
from typing import TypeVar, get_args

from poolmgr.cloud.breaker import Breaker
from poolmgr.cloud.checks import Kind, Service, Verb
from poolmgr.cloud.limiter import Slots
from poolmgr.cloud.pace import Pace, backoff, pause_after
from poolmgr.cloud.pool import Pool
from poolmgr.cloud.runner import Runner, Witness
from poolmgr.drivers.base import Driver
from poolmgr.drivers.lifecycle import name_of
from poolmgr.errors import (
    AuthenticationFailed,
    Busy,
    Closed,
    CloudError,
    CloudUnavailable,
    PoolmgrError,
)
from poolmgr.events import Observer
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

#: Failures in a row after which a service is tried by single calls only.
_FAILURES = 5
_THINGS = {"compute": "devices", "network": "floating IPs"}


class _CircuitOpened(Exception):
    """The breaker opened while the call waited for a slot."""


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
        self._pace = pace
        self._name = name_of(driver)
        self._runner = Runner(driver, pace.grace, pool, observer)
        self._slots = Slots(driver.limits.calls_at_once)
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

    def close(self) -> None:
        """Call no verb from now on."""
        self._closed = True
        self._runner.pool.close()

    @property
    def overdue(self) -> float:
        """See :attr:`Runner.overdue`."""
        return self._runner.overdue

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
                pause = max(next(pauses), pause_after(error))
                if self.breakers[verb.service, verb.kind].open:
                    pause = pause_after(error)  # it waits there
                # Once is nothing; who waits for long wants to know why.
                level = logging.WARNING if attempt == 3 else logging.INFO
                await pause_before_retry(context, pause, error, level)
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
            context.doing = f"waiting for {self._name}: {verb.name}"
            reason = self.breakers[verb.service, verb.kind].reason
            if reason and context.trouble is None:
                # Why the service works for nobody, as far as is known.
                context.trouble = CloudUnavailable(reason)
            try:
                async with self.login.attempt(max_wait=0.0):
                    return await self._attempt(
                        verb, args, context.urgent, witness
                    )
            except _CircuitOpened:
                continue

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
            answer = self._runner.start(verb, args, witness)
            # The slot is the call's, not its caller's.
            answer.add_done_callback(lambda _: self._slots.release(urgent))
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


async def pause_before_retry(
    context: RequestContext,
    pause: float,
    error: PoolmgrError,
    level: int = logging.INFO,
) -> None:
    """Sleep before a retry; raise at once if there is no time for that.

    :raises PoolmgrError: the error given
    """
    if pause >= context.end - asyncio.get_running_loop().time():
        raise error
    LOG.log(level, "%s; again in %.1f s", error, pause)
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
