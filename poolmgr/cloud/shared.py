"""One request to the cloud for all who wait for its answer."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from poolmgr.cloud.calls import Calls
from poolmgr.drivers import verbs
from poolmgr.drivers.base import Device
from poolmgr.drivers.verbs import Verb, name_of
from poolmgr.errors import Closed, PoolmgrError
from poolmgr.tracing import RequestContext, bound, current, new_request_id

LOG = logging.getLogger(__name__)

V = TypeVar("V")

#: Longest pause between two polls, in seconds.
_LONGEST_PAUSE = 10.0


class Poller:
    """Polls the cloud once an interval while somebody waits for a device.

    However many wait, there is one poll for all of them.

    :param calls: calls the driver
    :param interval: seconds between two polls; less at first, more while
        polls are slow or take many requests
    """

    def __init__(self, calls: Calls, interval: float) -> None:
        self._calls = calls
        self._interval = interval
        # The devices that are waited for, as they were last seen.
        self._waiting: dict[asyncio.Future[Device | None], Device] = {}
        self._task: asyncio.Task[None] | None = None
        self._clock: Callable[[], float] = lambda: 0.0
        self._seen_at = 0.0
        self._closed = False

    async def news(self, device: Device) -> Device | None:
        """Wait until a poll shows a device otherwise, or not at all.

        :param device: the device as it was last seen
        :returns: the device as it is now; None if the poll lacks it
        """
        if self._closed:
            raise Closed
        loop = asyncio.get_running_loop()
        if not self._waiting:
            self._clock, self._seen_at = loop.time, loop.time()
        news: asyncio.Future[Device | None] = loop.create_future()
        self._waiting[news] = device
        if self._task is None:
            # In a context of its own: it is for all who wait.
            self._task = loop.create_task(
                self._run(), context=contextvars.Context()
            )
        try:
            return await news
        finally:
            del self._waiting[news]

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def age(self) -> float:
        """Seconds since the last poll that succeeded began, or since
        somebody began to wait for the first; 0 while nobody waits."""
        return self._clock() - self._seen_at if self._waiting else 0.0

    def close(self) -> None:
        """End every wait."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        for news in self._waiting:
            if not news.done():
                news.set_exception(Closed())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        # What somebody begins to wait for may be quick, as a deletion is.
        pause = self._interval / 4
        try:
            while True:
                await asyncio.sleep(pause)
                if not self._waiting:
                    return
                started, pause = loop.time(), 2 * pause
                try:
                    # However many wait, the cloud has as many requests a
                    # minute, and is polled half of the time at most.
                    usual = self._interval * max(1, await self._poll())
                    pause = max(min(pause, usual), loop.time() - started)
                    self._seen_at = started
                except PoolmgrError as error:
                    # Whoever waits ends that by a time-out.
                    LOG.info("cannot poll devices, will poll again: %s", error)
                pause = min(pause, max(_LONGEST_PAUSE, self._interval))
        finally:
            self._task = None

    async def _poll(self) -> int:
        """Poll, and tell those who wait.

        :returns: how many requests that took
        """
        waiting = dict(self._waiting)
        devices = {device.id: device for device in waiting.values()}
        # Urgent, for hundreds may wait for these few requests.
        with bound(RequestContext(urgent=True)):
            poll = await self._calls.ask(verbs.POLL, tuple(devices.values()))
        seen = {device.id: device for device in poll.seen}
        for news, before in waiting.items():
            now = seen.get(before.id)
            is_alike = (
                now is not None
                and now.status == before.status
                and now.address == before.address
            )
            is_known = is_alike or before.id in poll.unchanged
            if not is_known and not news.done():
                news.set_result(now)
        return poll.requests


class _Question(Generic[V]):
    """A question, and who waits for its answer.

    :ivar keys: what is asked for
    :ivar askers: how many wait
    :ivar context: what it is asked for
    :ivar task: has the answer
    """

    task: asyncio.Task[Sequence[V]]

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.askers = 0
        self.context = RequestContext()


class Lookups(Generic[V]):
    """Collects keys while a question is under way, and asks for them at once.

    The question is asked after each of its keys was given, so an answer is
    never older than the call of :meth:`get` that returns it.

    :param calls: calls the driver
    :param verb: takes keys, returns what there is of all of them
    :param key_of: the key that a resource in the answer belongs to
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
        self._next: _Question[V] | None = None
        self._last: asyncio.Task[Sequence[V]] | None = None

    async def get(self, key: str) -> list[V]:
        """Return what there is of a key.

        :raises CloudError: the cloud says no
        """
        question, context = self._joined(key), current() or RequestContext()
        shared = question.context
        shared.urgent |= context.urgent
        # What is asked for many has an id of its own.
        shared.request_id = (
            context.request_id if question.askers == 1 else new_request_id()
        )
        driver = name_of(self._calls.driver)
        context.doing = f"waiting for {driver}: {self._verb.name}"
        try:
            found = await asyncio.shield(question.task)
        finally:
            question.askers -= 1
            if not question.askers:
                # What nobody waits for is not asked.
                question.task.cancel()
                self._next = None if self._next is question else self._next
            # What it shared becomes its own: whoever ended the wait says it.
            context.doing = shared.doing or context.doing
            context.trouble = shared.trouble or context.trouble
        if shared.request_id != context.request_id:
            # The log of each job leads to what was asked for all of them.
            LOG.debug("looking for %r: for many: %s", key, shared.request_id)
        return [each for each in found if self._key_of(each) == key]

    def _joined(self, key: str) -> _Question[V]:
        """Return the question to be asked next, with one more asker."""
        question = self._next
        if question is None:
            question = self._next = _Question()
            # In a context of its own, for it may be many askers' question.
            question.task = self._last = (
                asyncio.get_running_loop().create_task(
                    self._run(question, self._last),
                    context=contextvars.Context(),
                )
            )
        question.keys.add(key)
        question.askers += 1
        return question

    async def _run(
        self,
        question: _Question[V],
        before: asyncio.Task[Sequence[V]] | None,
    ) -> Sequence[V]:
        if before is not None:
            # One that is stuck delays the next for a moment only.
            seconds = self._calls.pace.lookup_slow
            await asyncio.wait([before], timeout=seconds)
        self._next = None
        with bound(question.context):
            return await self._calls.ask(self._verb, sorted(question.keys))
