"""One poller for everybody who waits for a device."""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Collection

from poolmgr.cloud.pace import Pace, pause_after
from poolmgr.drivers.base import Device, Poll
from poolmgr.errors import (
    Closed,
    CloudUnavailable,
    DeviceFailed,
    PoolmgrError,
)
from poolmgr.tracing import RequestContext, bound, current

LOG = logging.getLogger(__name__)

#: The poller looks at most this part of the time, so that it does not make a
#: slow cloud slower.
_SHARE = 1 / 2
#: Part of the time waited so far that an answer may be late by, until the
#: looks are a second apart.
_LATE = 1 / 30
#: Longest pause between two looks, in seconds.
_LONGEST_PAUSE = 10.0
#: Most devices asked for one by one after a look that did not list them.
_MOST_CONFIRMED = 10

Look = Callable[[Collection[Device]], Awaitable[Poll]]
Confirm = Callable[[Device], Awaitable[Device | None]]


class _Waiter:
    """Somebody who waits for a device.

    :ivar device: as it was last seen
    :ivar until_gone: whether it waits until the device is gone, not ready
    :ivar missed_at: when a look did not find it for the first time, by the
        loop's clock; None when the last one did
    :ivar asked_at: when the device was last asked for by itself
    """

    __slots__ = (
        "asked_at",
        "context",
        "device",
        "done",
        "missed_at",
        "since",
        "until_gone",
    )

    def __init__(self, device: Device, until_gone: bool) -> None:
        loop = asyncio.get_running_loop()
        self.device = device
        self.until_gone = until_gone
        self.done: asyncio.Future[Device | None] = loop.create_future()
        self.since = loop.time()
        self.missed_at: float | None = None
        self.asked_at = 0.0
        self.context = current()
        self.tell()

    @property
    def doubtful(self) -> bool:
        """Whether one more look tells if the device is gone."""
        return self.until_gone and self.missed_at is not None

    def tell(self) -> None:
        """Note what it waits for."""
        if self.context is not None:
            self.context.doing = _doing(self.device, self.until_gone)

    def found(self, device: Device) -> None:
        """Take note of what a look has found."""
        self.missed_at = None
        before, self.device = self.device, device
        if (before.status, before.address) != (device.status, device.address):
            self.tell()
        if self.until_gone or self.done.done():
            return
        if device.status == "failed":
            fault = device.fault or "no reason was given"
            self.done.set_exception(DeviceFailed(device.name, fault))
        elif device.ready:
            self.done.set_result(device)

    def missed(self, now: float, out_of_sight: float) -> None:
        """Take note that a look has not found it."""
        # A list can have holes, but hardly the same twice.
        is_first = self.missed_at is None
        if self.missed_at is None:
            self.missed_at = now
        if self.done.done():
            return
        if self.until_gone:
            if not is_first:
                self.done.set_result(None)
        elif now - self.missed_at >= out_of_sight:
            self.done.set_exception(
                DeviceFailed(self.device.name, "it disappeared")
            )


class Poller:
    """Looks at the cloud once an interval while somebody waits.

    However many wait, there is one look for all of them.

    :param look: looks at devices, see
        :meth:`poolmgr.drivers.base.Driver.poll`
    :param confirm: asks for one device that a look did not find while it was
        to become ready
    :param interval: seconds between two looks; less at first, up to a second
        after a while, more while looks are slow, fail, or take many requests
    :param pace: the times of waiting
    """

    def __init__(
        self, look: Look, confirm: Confirm, interval: float, pace: Pace
    ) -> None:
        self._look = look
        self._confirm = confirm
        self._interval = interval
        self._out_of_sight = pace.out_of_sight
        self._waiters: set[_Waiter] = set()
        self._task: asyncio.Task[None] | None = None
        self._clock: Callable[[], float] = lambda: 0.0
        self._seen_at = 0.0
        self._closed = False

    async def wait_ready(self, device: Device) -> Device:
        """Wait until a device is ready.

        :param device: the device as it was last seen
        :raises DeviceFailed: it failed, or is gone
        """
        waiter = _Waiter(device, until_gone=False)
        waiter.found(device)
        ready = await self._wait(waiter)
        assert ready is not None  # noqa: S101 - only who waits for the end
        return ready

    async def wait_gone(self, device: Device, seconds: float) -> bool:
        """Wait until a device is gone.

        :param seconds: how long to wait, at most
        :returns: whether it is gone
        """
        waiter = _Waiter(device, until_gone=True)
        try:
            async with asyncio.timeout(seconds) as timeout:
                await self._wait(waiter)
        except TimeoutError:
            if not timeout.expired():
                raise
        return waiter.done.done() and not waiter.done.cancelled()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiters)

    @property
    def age(self) -> float:
        """Seconds since the last look that succeeded began, or since
        somebody began to wait for the first; 0 while nobody waits."""
        return self._clock() - self._seen_at if self._waiters else 0.0

    def close(self) -> None:
        """End every wait."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        for waiter in self._waiters:
            if not waiter.done.done():
                waiter.done.set_exception(Closed())

    async def _wait(self, waiter: _Waiter) -> Device | None:
        if self._closed:
            raise Closed
        if not waiter.done.done():
            loop = asyncio.get_running_loop()
            if not self._waiters:
                self._clock, self._seen_at = loop.time, loop.time()
            self._waiters.add(waiter)
            if self._task is None:
                # In a context of its own: it is for all who wait.
                self._task = loop.create_task(
                    self._run(), context=contextvars.Context()
                )
        try:
            return await waiter.done
        finally:
            self._waiters.discard(waiter)

    async def _run(self) -> None:
        # What somebody begins to wait for may be quick, as a deletion is.
        pause = self._interval / 4
        try:
            while True:
                await asyncio.sleep(pause)
                if not self._waiters:
                    return
                # Urgent, for hundreds may wait for these few requests.
                with bound(RequestContext(urgent=True)):
                    pause = await self._show(tuple(self._waiters), pause)
        finally:
            self._task = None

    async def _show(self, waiters: Collection[_Waiter], pause: float) -> float:
        """Look, and show it to those who wait.

        :param pause: seconds that there were before this look
        :returns: seconds until the next
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        devices = {w.device.id: w.device for w in waiters}
        try:
            poll = await self._look(tuple(devices.values()))
        except PoolmgrError as error:
            # Whoever waits ends that by a time-out; until then a look that
            # failed is only a look that failed.
            LOG.info("cannot look at devices, will look again: %s", error)
            longer = min(2 * pause, max(_LONGEST_PAUSE, self._interval))
            if isinstance(error, CloudUnavailable):
                return max(longer, pause_after(error))
            return longer
        self._seen_at = started
        took = loop.time() - started
        seen = {device.id: device for device in poll.seen}
        absent = []
        for waiter in waiters:
            id_ = waiter.device.id
            if id_ in seen:
                waiter.found(seen[id_])
            elif id_ in poll.unchanged:
                waiter.missed_at = None
            elif waiter.until_gone:
                waiter.missed(loop.time(), self._out_of_sight)
            else:
                absent.append(waiter)
        await self._show_absent(absent)
        slow = took * (1 / _SHARE - 1)
        usual = min(2 * pause, self._steady(waiters, poll.requests))
        return max(usual, min(slow, _LONGEST_PAUSE))

    def _steady(self, waiters: Collection[_Waiter], requests: int) -> float:
        """Return the seconds between looks, for those who wait at present."""
        if any(w.doubtful and not w.done.done() for w in waiters):
            pause = self._interval / 4
        else:
            # Who has waited long can wait for longer.
            now = asyncio.get_running_loop().time()
            shortest = now - max(w.since for w in waiters)
            pause = max(self._interval, min(shortest * _LATE, 1.0))
        # However many wait, the cloud has as many requests a minute.
        longest = max(pause, _LONGEST_PAUSE)
        return min(pause * max(1, requests), longest)

    async def _show_absent(self, waiters: list[_Waiter]) -> None:
        """Ask for what was not in a list: that can have holes."""
        # In turn, or where many are in no list, some would never be seen.
        waiters.sort(key=lambda waiter: waiter.asked_at)
        loop = asyncio.get_running_loop()
        for waiter in waiters[:_MOST_CONFIRMED]:
            waiter.asked_at = loop.time()
            try:
                device = await self._confirm(waiter.device)
            except PoolmgrError as error:
                LOG.info(
                    "cannot tell whether device %s is there: %s",
                    waiter.device.name,
                    error,
                )
                continue
            if device is None:
                waiter.missed(loop.time(), self._out_of_sight)
            else:
                waiter.found(device)


def _doing(device: Device, until_gone: bool) -> str:
    if until_gone:
        return f"deleting device {device.name!r}"
    seen: str = device.status
    if device.status == "active" and device.address is None:
        seen += ", but without an address"
    return f"waiting for device {device.name!r} to boot (it is {seen})"
