"""One poller for everybody who waits for a device."""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Collection

from poolmgr.drivers.base import Device, Poll
from poolmgr.errors import Closed, PoolmgrError
from poolmgr.tracing import RequestContext, bound

LOG = logging.getLogger(__name__)

#: Longest pause between two polls, in seconds.
_LONGEST_PAUSE = 10.0


class Poller:
    """Polls the cloud once an interval while somebody waits.

    However many wait, there is one poll for all of them.

    :param poll: polls devices until the cloud answers, see
        :meth:`poolmgr.drivers.base.Driver.poll`
    :param interval: seconds between two polls; less at first, more while
        polls are slow or take many requests
    """

    def __init__(
        self,
        poll: Callable[[Collection[Device]], Awaitable[Poll]],
        interval: float,
    ) -> None:
        self._poll = poll
        self._interval = interval
        self._longest = max(_LONGEST_PAUSE, interval)
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
        # What somebody begins to wait for may be quick, as a deletion is.
        pause = self._interval / 4
        try:
            while True:
                await asyncio.sleep(pause)
                if not self._waiting:
                    return
                # Urgent, for hundreds may wait for these few requests.
                with bound(RequestContext(urgent=True)):
                    pause = await self._poll_once(pause)
        finally:
            self._task = None

    async def _poll_once(self, pause: float) -> float:
        """Poll, and tell those who wait.

        :param pause: seconds that there were before this poll
        :returns: seconds until the next
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        waiting = dict(self._waiting)
        devices = {device.id: device for device in waiting.values()}
        try:
            poll = await self._poll(tuple(devices.values()))
        except PoolmgrError as error:
            # Whoever waits ends that by a time-out.
            LOG.info("cannot poll devices, will poll again: %s", error)
            return min(2 * pause, self._longest)
        self._seen_at = started
        seen = {device.id: device for device in poll.seen}
        for news, before in waiting.items():
            now = seen.get(before.id)
            is_known = before.id in poll.unchanged or _is_alike(before, now)
            if not is_known and not news.done():
                news.set_result(now)
        # However many wait, the cloud has as many requests a minute, and is
        # polled half of the time at most.
        usual = self._interval * max(1, poll.requests)
        took = loop.time() - started
        return min(max(min(2 * pause, usual), took), self._longest)


def _is_alike(before: Device, now: Device | None) -> bool:
    return now is not None and (before.status, before.address) == (
        now.status,
        now.address,
    )
