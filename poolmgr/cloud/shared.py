"""Requests that several jobs share: polls and look-ups."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from poolmgr.cloud.calls import Calls
from poolmgr.drivers import verbs
from poolmgr.drivers.base import Device
from poolmgr.drivers.verbs import Verb, name_of
from poolmgr.errors import Closed, PoolmgrError
from poolmgr.tracing import RequestContext, bound, current

LOG = logging.getLogger(__name__)

V = TypeVar("V")

#: Longest pause between two polls, in seconds.
_LONGEST_PAUSE = 10.0
#: Seconds that a look-up waits for the one before it to end.
_LOOKUP_TIMEOUT = 2.0


class Poller:
    """Polls the devices that jobs wait for, all of them together.

    :param calls: calls the driver
    :param interval: seconds between two polls; less at first, more while
        polls are slow or take many requests
    """

    _loop: asyncio.AbstractEventLoop

    def __init__(self, calls: Calls, interval: float) -> None:
        self._calls = calls
        self._interval = interval
        # The devices as they were last seen.
        self._waiting: dict[asyncio.Future[Device | None], Device] = {}
        self._task: asyncio.Task[None] | None = None
        self._polled_at = 0.0
        self._closed = False
        self._context = RequestContext()

    def next_change(self, device: Device) -> "asyncio.Future[Device | None]":
        """Wait until a poll shows that a device has changed or is missing.

        Not a coroutine, because thousands of builds wait here.

        :param device: the device as it was last seen
        :returns: a future with the device as it is then, or None
        """
        if self._closed:
            raise Closed
        loop = asyncio.get_running_loop()
        if not self._waiting:
            self._loop, self._polled_at = loop, loop.time()
        change: asyncio.Future[Device | None] = loop.create_future()
        self._waiting[change] = device
        change.add_done_callback(self._waiting.pop)
        if self._task is None:
            # In a context of its own, because it polls for all jobs.
            self._task = loop.create_task(
                self._run(), context=contextvars.Context()
            )
        return change

    @property
    def waiting(self) -> int:
        """Number of devices that jobs wait for."""
        return len(self._waiting)

    @property
    def trouble(self) -> PoolmgrError | None:
        """The last failure of the poll that is being retried, or None."""
        return self._context.trouble

    @property
    def age(self) -> float:
        """Seconds since the last successful poll began, or since a job began
        to wait for the first one; 0 while none waits."""
        return self._loop.time() - self._polled_at if self._waiting else 0.0

    def close(self) -> None:
        """Let all waits fail."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        for change in self._waiting:
            if not change.done():
                change.set_exception(Closed())

    async def _run(self) -> None:
        loop = self._loop
        # Poll soon at first, because a deletion may take less than a second.
        pause = self._interval / 4
        try:
            while True:
                await asyncio.sleep(pause)
                if not self._waiting:
                    return
                started, pause = loop.time(), 2 * pause
                try:
                    # The number of requests a minute does not depend on how
                    # many wait, and half of the time there is no poll.
                    usual = self._interval * max(1, await self._poll())
                    pause = max(min(pause, usual), loop.time() - started)
                    self._polled_at = started
                except PoolmgrError as error:
                    # The jobs' own deadlines end their waits.
                    LOG.info("cannot poll devices, will poll again: %s", error)
                pause = min(pause, max(_LONGEST_PAUSE, self._interval))
        finally:
            self._task = None

    async def _poll(self) -> int:
        """Poll once, and resolve the futures of devices that changed.

        :returns: the number of requests
        """
        waiting = dict(self._waiting)
        devices = {device.id: device for device in waiting.values()}
        # Urgent, because hundreds of builds may wait for these few requests.
        with bound(RequestContext(urgent=True)) as self._context:
            poll = await self._calls.ask(verbs.POLL, tuple(devices.values()))
        seen = {device.id: device for device in poll.seen}
        for change, before in waiting.items():
            now = seen.get(before.id)
            is_same = now == before or before.id in poll.unchanged
            if not (is_same or change.done()):
                change.set_result(now)
        return poll.requests


@dataclass(eq=False)
class _SharedLookup(Generic[V]):
    """Keys that one request looks up.

    :ivar context: the context of the request
    :ivar keys: the keys
    :ivar waiting: number of callers that wait for the result
    :ivar task: makes the request
    """

    context: RequestContext
    keys: set[str] = field(default_factory=set)
    waiting: int = 0
    task: asyncio.Task[Sequence[V]] = field(init=False)


class Lookups(Generic[V]):
    """Looks resources up by a key, many keys in one request.

    Keys that are asked for while a request is in flight are collected for the
    next one.  So a result is never older than the call of :meth:`get`.

    :param calls: calls the driver
    :param verb: takes keys and returns the resources of all of them
    :param key_of: returns the key that a resource belongs to
    """

    def __init__(
        self,
        calls: Calls,
        verb: Verb[Sequence[V]],
        key_of: Callable[[V], str | None],
    ) -> None:
        self._calls = calls
        self._verb = verb
        self._key_of = key_of
        self._next: _SharedLookup[V] | None = None
        self._last: asyncio.Task[Sequence[V]] | None = None

    async def get(self, key: str) -> list[V]:
        """Return the resources that belong to a key.

        :raises CloudError: the cloud refuses
        """
        context = current() or RequestContext()
        batch = self._next
        if batch is None or not batch.waiting:
            batch = self._next = self._start_batch(context)
        batch.keys.add(key)
        batch.waiting += 1
        shared = batch.context
        shared.urgent |= context.urgent
        if shared.request_id != context.request_id:
            LOG.debug("looking for %r: with %s", key, shared.request_id)
        driver = name_of(self._calls.driver)
        context.doing = f"waiting for {driver}: {self._verb.name}"
        try:
            found = await asyncio.shield(batch.task)
        finally:
            batch.waiting -= 1
            if not batch.waiting:
                batch.task.cancel()  # nobody needs the result
            context.trouble = shared.trouble or context.trouble
        return [each for each in found if self._key_of(each) == key]

    def _start_batch(self, context: RequestContext) -> _SharedLookup[V]:
        # The cloud's log has the request id of the first job.
        shared = RequestContext(request_id=context.request_id)
        batch: _SharedLookup[V] = _SharedLookup(shared)
        previous = self._last

        async def look_up() -> Sequence[V]:
            if previous is not None:
                # A request that hangs delays the next one only for a moment.
                await asyncio.wait([previous], timeout=_LOOKUP_TIMEOUT)
            self._next = None
            with bound(shared):
                return await self._calls.ask(self._verb, sorted(batch.keys))

        # In a context of its own, because it is for several jobs.
        batch.task = self._last = asyncio.get_running_loop().create_task(
            look_up(), context=contextvars.Context()
        )
        return batch
