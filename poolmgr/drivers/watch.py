"""One poller for everybody who waits for a device."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from poolmgr.drivers.base import Device
from poolmgr.errors import CloudError, DeviceFailed
from poolmgr.waiting import Deadline

LOG = logging.getLogger(__name__)


@dataclass
class _Waiter:
    device: Device
    done: threading.Event = field(default_factory=threading.Event)
    result: Device | DeviceFailed | None = None

    def see(self, device: Device | None) -> None:
        """Take note of what the cloud has."""
        if device is None:
            self.result = DeviceFailed(self.device.name, "it disappeared")
        elif device.status == "failed":
            self.result = failure(device)
        elif device.ready:
            self.result = device
        if self.result is not None:
            self.done.set()


class Watch:
    """Looks at the cloud once an interval while somebody waits.

    However many wait, the cloud is asked once.  The thread comes with the
    first who waits and goes with the last.

    :param look: lists the devices with the ids given, and may list more;
        called on the watch's own thread
    :param interval: seconds between two looks
    """

    def __init__(
        self,
        look: Callable[[Collection[str]], Iterable[Device]],
        interval: float = 1.0,
    ) -> None:
        self._look = look
        self._interval = interval
        self._lock = threading.Lock()
        self._waiters: dict[int, _Waiter] = {}
        self._closed = threading.Event()
        self._running = False

    def wait(self, device: Device, deadline: Deadline) -> Device:
        """Wait until a device is ready.

        :param device: the device as it was last seen
        :raises DeviceFailed: it failed, or is gone
        :raises DeadlineExceeded: it was not ready in time
        :raises Stopped: the wait was called off
        """
        doing = f"waiting for device {device.name!r} to boot"
        waiter = _Waiter(device)
        waiter.see(device)
        if waiter.result is None:
            self._await(waiter, deadline)
        if waiter.result is None:
            deadline.check(doing)
        if isinstance(waiter.result, Device):
            return waiter.result
        raise waiter.result or DeviceFailed(device.name, "the watch closed")

    def close(self) -> None:
        """End the thread and every wait."""
        self._closed.set()
        with self._lock:
            waiters = list(self._waiters.values())
        for waiter in waiters:
            waiter.done.set()

    def _await(self, waiter: _Waiter, deadline: Deadline) -> None:
        key = id(waiter)
        with self._lock:
            self._waiters[key] = waiter
            if not self._running and not self._closed.is_set():
                self._running = True
                threading.Thread(
                    target=self._run, name="poolmgr-watch", daemon=True
                ).start()
        try:
            with deadline.stop.wakes(waiter.done.set):
                waiter.done.wait(deadline.remaining())
        finally:
            with self._lock:
                del self._waiters[key]

    def _run(self) -> None:
        while True:
            self._closed.wait(self._interval)
            with self._lock:
                waiters = [
                    w for w in self._waiters.values() if not w.done.is_set()
                ]
                if not self._waiters or self._closed.is_set():
                    self._running = False
                    return
            if waiters:
                self._show(waiters)

    def _show(self, waiters: list[_Waiter]) -> None:
        try:
            seen = self._look({w.device.id for w in waiters})
            devices = {device.id: device for device in seen}
        except CloudError as error:
            # Who waits has a deadline; until then a look that failed is
            # only a look that failed.
            LOG.info("cannot list devices, will look again: %s", error)
            return
        except Exception:
            LOG.exception("listing devices failed unexpectedly")
            return
        for waiter in waiters:
            waiter.see(devices.get(waiter.device.id))


def failure(device: Device) -> DeviceFailed:
    """The error for a device that failed."""
    return DeviceFailed(device.name, device.fault or "no reason was given")
