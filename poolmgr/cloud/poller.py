"""Polls the devices that jobs wait for."""

import asyncio
import contextvars
import logging

from poolmgr.cloud.calls import Calls
from poolmgr.drivers import verbs
from poolmgr.drivers.base import Device
from poolmgr.errors import Closed, PoolmgrError
from poolmgr.tracing import RequestContext, bound

LOG = logging.getLogger(__name__)

#: Longest pause between two polls, in seconds.
_LONGEST_PAUSE = 10.0


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
            # The age must not count the time when nobody waited.
            self._loop, self._polled_at = loop, loop.time()
        change: asyncio.Future[Device | None] = loop.create_future()
        self._waiting[change] = device
        # Also when the job that waits is cancelled.
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
        # A copy: jobs come and go during the call.
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
