"""One poller for everybody who waits for a device."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable

from poolmgr.cloud.values import device_in, devices_in, optional
from poolmgr.drivers.base import Device
from poolmgr.errors import CloudError, CloudUnavailable, DeviceFailed
from poolmgr.threads import NoThreads, start_daemon
from poolmgr.tracing import Following, Trail
from poolmgr.waiting import Deadline, Wake

LOG = logging.getLogger(__name__)

#: The watch looks at most this part of the time, so that a slow cloud is not
#: made slower by it.
SHARE = 1 / 2
#: Part of the time waited so far that an answer may be late by, until the
#: looks are a second apart.
PATIENCE = 1 / 30
#: Longest pause between two looks, in seconds.
LONGEST_PAUSE = 10.0
#: Most devices asked for one by one after a look that did not list them.
MOST_CONFIRMED = 10

#: Seconds until a thread is tried for again, where there are no more.
NO_THREAD_PAUSE = 1.0

Look = Callable[[Collection[Device]], Iterable[Device]]
Confirm = Callable[[Device], Device | None]


class _Waiter:
    """Somebody who waits for a device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.since = time.monotonic()
        self.wake = Wake()
        self.done = False
        #: Whether what was seen is to be seen once more, soon.
        self.doubtful = False
        self.error: DeviceFailed | None = None
        #: When it was last asked for by itself.
        self.asked_at = 0.0

    def see(self, device: Device | None) -> None:
        """Take note of what the cloud has."""
        if device is not None:
            self.device = device
        if self.is_over(device):
            self.done = True
            self.wake.set()

    def is_over(self, device: Device | None) -> bool:
        """Whether there is nothing left to wait for."""
        raise NotImplementedError


class _UntilReady(_Waiter):
    def __init__(self, device: Device, out_of_sight: float = 0.0) -> None:
        super().__init__(device)
        self._out_of_sight = out_of_sight
        self._missed_at: float | None = None

    def is_over(self, device: Device | None) -> bool:
        if device is None:
            now = time.monotonic()
            if self._missed_at is None:
                self._missed_at = now
            if now - self._missed_at < self._out_of_sight:
                return False
            self.error = DeviceFailed(self.device.name, "it disappeared")
        elif device.status == "failed":
            self.error = failure(device)
        self._missed_at = None
        return self.error is not None or self.device.ready


class _UntilGone(_Waiter):
    def is_over(self, device: Device | None) -> bool:
        # A list can have holes, but hardly the same twice.
        self.doubtful = device is None and not self.doubtful
        return device is None and not self.doubtful


class Watch:
    """Looks at the cloud once an interval while somebody waits.

    However many wait, the cloud is asked once.  The thread comes with the
    first who waits and goes with the last.

    :param look: lists those of the devices given that are there, and may
        list more; called on the watch's own thread
    :param interval: seconds between two looks; less at first, up to a second
        after a while, more while looks are slow or fail
    :param confirm: asks for one device that a look did not list while it was
        to become ready; None, and the list is believed
    :param page: devices that one call lists: looks at more cost more calls,
        and are so many times as far apart; None, and each is one call
    :param out_of_sight: seconds that a device that was to become ready has
        to be missed, look by look, before it counts as gone
    """

    def __init__(
        self,
        look: Look,
        interval: float = 1.0,
        confirm: Confirm | None = None,
        page: int | None = None,
        out_of_sight: float = 0.0,
    ) -> None:
        self._out_of_sight = out_of_sight
        self._look = look
        self._interval = interval
        self._confirm = confirm or (lambda device: None)
        self._page = page
        self._lock = threading.Lock()
        self._waiters: dict[int, _Waiter] = {}
        self._closed = threading.Event()
        self._running = False
        #: Whether it was said that there is no thread.
        self._unserved = False
        self._seen_at = 0.0

    def wait(self, device: Device, deadline: Deadline) -> Device:
        """Wait until a device is ready.

        :param device: the device as it was last seen
        :raises DeviceFailed: it failed, or is gone
        :raises DeadlineExceeded: it was not ready in time
        :raises Stopped: the wait was called off
        """
        waiter = _UntilReady(device, self._out_of_sight)
        waiter.see(device)
        if not waiter.done:
            self._await(waiter, deadline, deadline.remaining())
        if waiter.error is not None:
            raise waiter.error
        if not waiter.done:
            deadline.check(_doing(waiter.device))
            raise DeviceFailed(device.name, "the watch closed")
        return waiter.device

    def wait_gone(
        self, device: Device, deadline: Deadline, patience: float
    ) -> bool:
        """Wait until a device is gone.

        :param patience: seconds to wait, at most
        :returns: whether it is gone
        """
        waiter = _UntilGone(device)
        self._await(waiter, deadline, min(patience, deadline.remaining()))
        return waiter.done

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiters)

    @property
    def age(self) -> float:
        """Seconds since the last look that succeeded began, or since one
        began to wait for the first; 0 while nobody waits."""
        return time.monotonic() - self._seen_at if self._waiters else 0.0

    def close(self) -> None:
        """End the thread and every wait."""
        self._closed.set()
        with self._lock:
            waiters = list(self._waiters.values())
        for waiter in waiters:
            waiter.wake.set()

    def _await(
        self, waiter: _Waiter, deadline: Deadline, seconds: float
    ) -> None:
        key = id(waiter)
        with self._lock:
            if not self._waiters:
                self._seen_at = waiter.since
            self._waiters[key] = waiter
        end = time.monotonic() + seconds
        try:
            with deadline.stop.wakes(waiter.wake.set):
                while not (self._closed.is_set() or self._is_served()):
                    left = end - time.monotonic()
                    pause = min(left, NO_THREAD_PAUSE)
                    if left <= 0 or waiter.wake.wait(pause):
                        return
                # Closing wakes who is here by then.
                if not self._closed.is_set():
                    waiter.wake.wait(max(0.0, end - time.monotonic()))
        finally:
            with self._lock:
                del self._waiters[key]

    def _is_served(self) -> bool:
        """Whether there is a thread that looks; have one come if not."""
        with self._lock:
            if not self._running:
                try:
                    start_daemon("poolmgr-watch", self._run)
                except NoThreads as error:
                    if not self._unserved:
                        LOG.error("%s: nobody looks at the devices", error)
                    self._unserved = True
                    return False
                self._running, self._unserved = True, False
        return True

    def _run(self) -> None:
        # What somebody begins to wait for may be quick, as a deletion is.
        pause = self._interval / 4
        while True:
            self._closed.wait(pause)
            with self._lock:
                waiters = [w for w in self._waiters.values() if not w.done]
                if not self._waiters or self._closed.is_set():
                    self._running = False
                    return
            if waiters:
                # For all of them, so it has an id of its own.
                with Following(Trail()):
                    pause = self._show(waiters, pause)

    def _after_failure(self, pause: float, error: BaseException) -> float:
        """Seconds until the next look, after one that failed."""
        longer = min(2 * pause, max(LONGEST_PAUSE, self._interval))
        if isinstance(error, CloudUnavailable):
            return max(longer, error.pause)
        return longer

    def _show(self, waiters: list[_Waiter], pause: float) -> float:
        """Look, and show it to those who wait.

        :param pause: seconds that there were before this look
        :returns: seconds until the next
        """
        started = time.monotonic()
        devices = {w.device.id: w.device for w in waiters}
        try:
            found = devices_in(self._look(devices.values()))
            seen = {device.id: device for device in found}
        except CloudError as error:
            # Who waits has a deadline; until then a look that failed is
            # only a look that failed.
            LOG.info("cannot list devices, will look again: %s", error)
            return self._after_failure(pause, error)
        except BaseException as error:
            LOG.exception("listing devices failed unexpectedly")
            return self._after_failure(pause, error)
        self._seen_at = started
        took = time.monotonic() - started
        absent = []
        for waiter in waiters:
            device = seen.get(waiter.device.id)
            if device is None and isinstance(waiter, _UntilReady):
                absent.append(waiter)
            else:
                waiter.see(device)
        self._show_absent(absent)
        slow = took * (1 / SHARE - 1)
        usual = min(2 * pause, self._steady(waiters))
        return max(usual, min(slow, LONGEST_PAUSE))

    def _steady(self, waiters: list[_Waiter]) -> float:
        """Seconds between looks; who has waited long can wait for longer."""
        if any(waiter.doubtful for waiter in waiters):
            pause = self._interval / 4
        else:
            shortest = time.monotonic() - max(w.since for w in waiters)
            pause = max(self._interval, min(shortest * PATIENCE, 1.0))
        # However many wait, the cloud has as many calls a minute.
        return max(pause, min(pause * self._calls(waiters), LONGEST_PAUSE))

    def _calls(self, waiters: list[_Waiter]) -> int:
        """About how many calls a look at them is."""
        # After a page that is just full it asks whether there is another.
        return len(waiters) // self._page + 1 if self._page else 1

    def _show_absent(self, waiters: list[_UntilReady]) -> None:
        """A list can have holes: ask for what was not in it."""
        # In turn, or where many are in no list, some would never be seen.
        waiters = sorted(waiters, key=lambda waiter: waiter.asked_at)
        for waiter in waiters[:MOST_CONFIRMED]:
            waiter.asked_at = time.monotonic()
            try:
                waiter.see(optional(device_in)(self._confirm(waiter.device)))
            except CloudError as error:
                LOG.info(
                    "cannot tell whether device %s is there: %s",
                    waiter.device.name,
                    error,
                )
            except BaseException:
                LOG.exception("asking for a device failed unexpectedly")


def failure(device: Device) -> DeviceFailed:
    """The error for a device that failed."""
    return DeviceFailed(device.name, device.fault or "no reason was given")


def _doing(device: Device) -> str:
    seen: str = device.status
    if device.status == "active" and device.address is None:
        seen += ", but without an address"
    return f"waiting for device {device.name!r} to boot (it is {seen})"
