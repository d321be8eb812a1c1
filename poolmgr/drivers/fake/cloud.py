"""The driver of the fake cloud."""

import os
import random
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from poolmgr.drivers.base import (
    Device,
    Driver,
    FloatingIP,
    Limits,
    Poll,
    Status,
)
from poolmgr.drivers.fake.database import Database, StoredDevice, Table
from poolmgr.drivers.fake.ranges import Range
from poolmgr.drivers.fake.settings import FakeSettings, network_of
from poolmgr.errors import (
    Changed,
    CloudRefused,
    CloudUnavailable,
    QuotaExceeded,
)
from poolmgr.ownership import Mark, new_uuid

#: Threads that call it at once: a cloud of 20 ms serves 1,600 calls a second.
_AT_ONCE = 32
# Its own: a program may have seeded Python's.
_CHANCE = random.Random()
#: Held while SQLite works. A fork waits for it, or else SQLite's own locks
#: could be held by nobody in the child.
_SQLITE = threading.RLock()
os.register_at_fork(
    before=_SQLITE.acquire,
    after_in_parent=_SQLITE.release,
    after_in_child=_SQLITE.release,
)


class FakeCloud(Driver):
    """Devices and floating IPs in a table instead of a cloud.

    :raises ConfigError: its state cannot be kept in the file named
    """

    Settings = FakeSettings

    def __init__(self, settings: FakeSettings | None = None) -> None:
        self._settings = settings or FakeSettings()
        self.image = self._settings.image
        # Often enough that a short boot does not become longer by that.
        interval = min(1.0, max(0.02, self._settings.boot_time / 20))
        self.limits = Limits(calls_at_once=_AT_ONCE, poll_interval=interval)
        self._device_range = Range(network_of(self._settings.device_range))
        self._ip_range = Range(network_of(self._settings.ip_range))
        self._closed = False
        with _SQLITE:
            self._store = Database(self._settings.state or ":memory:")

    def close(self) -> None:
        """Forget everything that is kept in memory."""
        self._closed = True
        with _SQLITE:
            self._store.close()

    # -- devices ------------------------------------------------------------

    def create_device(
        self, name: str, mark: Mark | None, timeout: float
    ) -> Device:
        """See :meth:`Driver.create_device`."""
        cfg = self._settings
        spread = _CHANCE.uniform(-cfg.boot_spread, cfg.boot_spread)
        fails = _CHANCE.random() < cfg.boot_failure_rate
        fault = "the fake cloud let it fail" if fails else None
        now = time.time()
        ready = now + max(0.0, cfg.boot_time + spread)
        id_ = new_uuid()
        with self._call(timeout) as store, store.transaction():
            _require_room("device", cfg.device_quota, store)

            def add(address: str) -> StoredDevice | None:
                device = StoredDevice(
                    id_, name, address, now, ready, fault, mark
                )
                return device if store.add_device(device) else None

            return _device(self._device_range.take(store, add))

    def get_device(self, id: str, timeout: float) -> Device | None:
        """See :meth:`Driver.get_device`."""
        found = self._devices(timeout, "id", [id])
        return found[0] if found else None

    def list_devices(self, timeout: float) -> Sequence[Device]:
        """See :meth:`Driver.list_devices`."""
        return self._devices(timeout)

    def find_devices(
        self, names: Collection[str], timeout: float
    ) -> Sequence[Device]:
        """See :meth:`Driver.find_devices`."""
        return self._devices(timeout, "name", names)

    def devices_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> Sequence[Device]:
        """See :meth:`Driver.devices_of_jobs`."""
        return self._devices(timeout, "job", uniques)

    def poll(self, devices: Collection[Device], timeout: float) -> Poll:
        """See :meth:`Driver.poll`."""
        ids = [device.id for device in devices]
        return Poll(self._devices(timeout, "id", ids))

    def mark_device(self, device: Device, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_device`."""
        with self._call(timeout) as store, store.transaction():
            there = store.devices("id", [device.id])
            if not there:
                raise CloudRefused(f"device {device.name!r} is gone")
            now = mark.written_over(there[0].mark, device.mark)
            store.mark_device(device.id, now)

    def delete_device(self, device: Device, timeout: float) -> bool:
        """See :meth:`Driver.delete_device`."""
        with self._call(timeout) as store, store.transaction():
            return store.delete_device(device.id)

    # -- floating IPs -------------------------------------------------------

    def create_ip(self, mark: Mark | None, timeout: float) -> FloatingIP:
        """See :meth:`Driver.create_ip`."""
        id_, created = new_uuid(), mark.made if mark else None
        with self._call(timeout) as store, store.transaction():
            _require_room("ip", self._settings.ip_quota, store)

            def add(address: str) -> FloatingIP | None:
                ip = FloatingIP(id_, address, None, 1, mark, created)
                return ip if store.add_ip(ip) else None

            return self._ip_range.take(store, add)

    def list_ips(self, timeout: float) -> Sequence[FloatingIP]:
        """See :meth:`Driver.list_ips`."""
        with self._call(timeout) as store:
            return store.ips()

    def find_ips(
        self, addresses: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        """See :meth:`Driver.find_ips`."""
        with self._call(timeout) as store:
            return store.ips("address", addresses)

    def ips_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        """See :meth:`Driver.ips_of_jobs`."""
        with self._call(timeout) as store:
            return store.ips("job", uniques)

    def mark_ip(self, ip: FloatingIP, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_ip`."""
        with self._call(timeout) as store:
            _change(store, ip, ip.device_id, mark)

    def attach_ip(
        self, ip: FloatingIP, device: Device, timeout: float
    ) -> None:
        """See :meth:`Driver.attach_ip`."""
        with self._call(timeout) as store, store.transaction():
            there = store.devices("id", [device.id])
            if not there or _device(there[0]).status != "active":
                raise CloudRefused(f"device {device.name!r} is not active")
            for taken in store.ips("device_id", [device.id]):
                if taken.id != ip.id:
                    raise CloudRefused(
                        f"device {device.name!r} has floating IP "
                        f"{taken.address!r}"
                    )
            _change(store, ip, device.id, ip.mark)

    def detach_ip(self, ip: FloatingIP, timeout: float) -> None:
        """See :meth:`Driver.detach_ip`."""
        with self._call(timeout) as store:
            _change(store, ip, None, ip.mark)

    def delete_ip(self, ip: FloatingIP, timeout: float) -> bool:
        """See :meth:`Driver.delete_ip`."""
        with self._call(timeout) as store:
            return store.delete_ip(ip.id)

    def accepts(self, address: str, port: int, timeout: float) -> bool:
        """See :meth:`Driver.accepts`; no packet leaves the process."""
        attached = [
            ip
            for ip in self.find_ips([address], timeout)
            if ip.device_id is not None
        ]
        return bool(attached) and port != self._settings.closed_port

    # -- inside -------------------------------------------------------------

    @contextmanager
    def _call(self, timeout: float) -> Iterator[Database]:
        """Make one call of the cloud: it takes its time, and may fail.

        The block has the store for itself.
        """
        self.limiter.acquire()
        if self._settings.call_time:
            time.sleep(min(self._settings.call_time, timeout))
        if self._settings.call_time > timeout:
            raise CloudUnavailable(f"no answer within {timeout:g} s")
        if _CHANCE.random() < self._settings.call_failure_rate:
            raise CloudUnavailable("the fake cloud let the call fail")
        if self._closed:
            raise CloudRefused("the fake cloud is closed")
        with _SQLITE:
            yield self._store

    def _devices(
        self, timeout: float, column: str = "", values: Collection[str] = ()
    ) -> list[Device]:
        with self._call(timeout) as store:
            found = store.devices(column, values)
        return [_device(each) for each in found]


def _require_room(table: Table, quota: int, store: Database) -> None:
    if store.count(table) >= quota:
        what = {"device": "devices", "ip": "floating IPs"}[table]
        raise QuotaExceeded(f"quota of {quota} {what} is used up")


def _change(
    store: Database, ip: FloatingIP, device_id: str | None, mark: Mark | None
) -> None:
    if not store.change_ip(ip, device_id, mark):
        raise Changed(f"floating IP {ip.address!r} was changed meanwhile")


def _device(stored: StoredDevice) -> Device:
    status: Status = "building"
    if time.time() >= stored.ready:
        status = "failed" if stored.fault else "active"
    return Device(
        id=stored.id,
        name=stored.name,
        status=status,
        address=stored.address if status == "active" else None,
        created=_as_text(stored.created),
        fault=stored.fault if status == "failed" else None,
        mark=stored.mark,
    )


def _as_text(seconds: float) -> str:
    """Return a time as text; empty for what no calendar has."""
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (OSError, OverflowError, ValueError):
        return ""
    return at.isoformat(timespec="seconds")
