"""The driver of the fake cloud."""

import random
import threading
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from poolmgr.cloud.poller import Watch
from poolmgr.drivers.base import (
    Device,
    Driver,
    DriverState,
    FloatingIP,
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
from poolmgr.waiting import Deadline


class FakeCloud(Driver):
    """Devices and floating IPs in a table instead of a cloud.

    :raises ConfigError: its state cannot be kept in the file named
    """

    Settings = FakeSettings

    def __init__(self, settings: FakeSettings | None = None) -> None:
        self._settings = settings or FakeSettings()
        self.image = self._settings.image
        self._device_range = Range(network_of(self._settings.device_range))
        self._ip_range = Range(network_of(self._settings.ip_range))
        self._turn = _Turn(Database(self._settings.state or ":memory:"))
        # Often enough that a short boot is not made longer by the watch.
        interval = min(1.0, max(0.02, self._settings.boot_time / 20))
        self._watch = Watch(self._look, interval)

    @property
    def state(self) -> DriverState:
        """See :attr:`Driver.state`."""
        return DriverState({}, self._watch.waiting, self._watch.age)

    def close(self) -> None:
        """Forget everything that is kept in memory."""
        self._watch.close()
        with self._turn as store:
            store.close()

    # -- devices ------------------------------------------------------------

    def create_device(
        self, name: str, mark: Mark | None, deadline: Deadline
    ) -> Device:
        """See :meth:`Driver.create_device`."""
        cfg = self._settings
        spread = random.uniform(-cfg.boot_spread, cfg.boot_spread)
        fails = random.random() < cfg.boot_failure_rate
        fault = "the fake cloud let it fail" if fails else None
        now = time.time()
        ready = now + max(0.0, cfg.boot_time + spread)
        id_ = new_uuid()

        def made(address: str) -> StoredDevice | None:
            device = StoredDevice(id_, name, address, now, ready, fault, mark)
            return device if store.add_device(device) else None

        with self._call(deadline) as store, store.transaction():
            _within("device", cfg.device_quota, store)
            return _device(self._device_range.take(store, made))

    def wait_for_device(self, device: Device, deadline: Deadline) -> Device:
        """See :meth:`Driver.wait_for_device`."""
        return self._watch.wait(device, deadline)

    def list_devices(self, deadline: Deadline) -> Sequence[Device]:
        """See :meth:`Driver.list_devices`."""
        return self._devices("", "", deadline)

    def find_devices(self, name: str, deadline: Deadline) -> Sequence[Device]:
        """See :meth:`Driver.find_devices`."""
        return self._devices("name", name, deadline)

    def devices_of_job(
        self, unique: str, deadline: Deadline
    ) -> Sequence[Device]:
        """See :meth:`Driver.devices_of_job`."""
        return self._devices("job", unique, deadline)

    def mark_device(
        self, device: Device, mark: Mark, deadline: Deadline
    ) -> None:
        """See :meth:`Driver.mark_device`."""
        with self._call(deadline) as store, store.transaction():
            there = store.devices("id", device.id)
            if not there:
                raise CloudRefused(f"device {device.name!r} is gone")
            now = mark.written_over(there[0].mark, device.mark)
            store.mark_device(device.id, now)

    def delete_device(self, device: Device, deadline: Deadline) -> None:
        """See :meth:`Driver.delete_device`."""
        with self._call(deadline) as store, store.transaction():
            store.delete_device(device.id)

    # -- floating IPs -------------------------------------------------------

    def create_ip(self, mark: Mark | None, deadline: Deadline) -> FloatingIP:
        """See :meth:`Driver.create_ip`."""
        id_, created = new_uuid(), mark.made if mark else None

        def made(address: str) -> FloatingIP | None:
            ip = FloatingIP(id_, address, None, 1, mark, created)
            return ip if store.add_ip(ip) else None

        with self._call(deadline) as store, store.transaction():
            _within("ip", self._settings.ip_quota, store)
            return self._ip_range.take(store, made)

    def list_ips(self, deadline: Deadline) -> Sequence[FloatingIP]:
        """See :meth:`Driver.list_ips`."""
        with self._call(deadline) as store:
            return store.ips()

    def find_ip(self, address: str, deadline: Deadline) -> FloatingIP | None:
        """See :meth:`Driver.find_ip`."""
        with self._call(deadline) as store:
            found = store.ips("address", address)
        return found[0] if found else None

    def ips_of_job(
        self, unique: str, deadline: Deadline
    ) -> Sequence[FloatingIP]:
        """See :meth:`Driver.ips_of_job`."""
        with self._call(deadline) as store:
            return store.ips("job", unique)

    def device_of_ip(
        self, ip: FloatingIP, deadline: Deadline
    ) -> Device | None:
        """See :meth:`Driver.device_of_ip`."""
        if ip.device_id is None:
            return None
        found = self._devices("id", ip.device_id, deadline)
        return found[0] if found else None

    def mark_ip(self, ip: FloatingIP, mark: Mark, deadline: Deadline) -> None:
        """See :meth:`Driver.mark_ip`."""
        with self._call(deadline) as store:
            _change(store, ip, ip.device_id, mark)

    def attach_ip(
        self, ip: FloatingIP, device: Device, deadline: Deadline
    ) -> None:
        """See :meth:`Driver.attach_ip`."""
        with self._call(deadline) as store, store.transaction():
            there = store.devices("id", device.id)
            if not there or _device(there[0]).status != "active":
                raise CloudRefused(f"device {device.name!r} is not active")
            for taken in store.ips("device_id", device.id):
                if taken.id != ip.id:
                    raise CloudRefused(
                        f"device {device.name!r} has floating IP "
                        f"{taken.address!r}"
                    )
            _change(store, ip, device.id, ip.mark)

    def detach_ip(self, ip: FloatingIP, deadline: Deadline) -> None:
        """See :meth:`Driver.detach_ip`."""
        with self._call(deadline) as store:
            _change(store, ip, None, ip.mark)

    def delete_ip(self, ip: FloatingIP, deadline: Deadline) -> None:
        """See :meth:`Driver.delete_ip`."""
        with self._call(deadline) as store:
            store.delete_ip(ip.id)

    def accepts(self, address: str, port: int, deadline: Deadline) -> bool:
        """See :meth:`Driver.accepts`; no packet leaves the process."""
        ip = self.find_ip(address, deadline)
        attached = ip is not None and ip.device_id is not None
        return attached and port != self._settings.closed_port

    # -- inside -------------------------------------------------------------

    def _call(self, deadline: Deadline) -> "_Turn":
        """One call of the cloud: takes its time, and may fail.

        :returns: for ``with``: the store, for the call alone
        """
        deadline.check("calling the fake cloud")
        if self._settings.call_time:
            deadline.sleep(self._settings.call_time, "calling the fake cloud")
        if random.random() < self._settings.call_failure_rate:
            raise CloudUnavailable("the fake cloud let the call fail")
        return self._turn

    def _look(self, devices: Collection[Device]) -> list[Device]:
        with self._call(Deadline(60.0)) as store:
            found = store.devices_of([device.id for device in devices])
        return [_device(each) for each in found]

    def _devices(
        self, column: str, value: str, deadline: Deadline
    ) -> list[Device]:
        with self._call(deadline) as store:
            found = store.devices(column, value)
        return [_device(each) for each in found]


class _Turn:
    """Has the store called by one thread at a time."""

    def __init__(self, store: Database) -> None:
        self._store = store
        self._lock = threading.Lock()

    def __enter__(self) -> Database:
        self._lock.acquire()
        return self._store

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def _within(table: Table, quota: int, store: Database) -> None:
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
        created=_written(stored.created),
        fault=stored.fault if status == "failed" else None,
        mark=stored.mark,
    )


def _written(seconds: float) -> str:
    """A time as text; empty for what no calendar has."""
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (OSError, OverflowError, ValueError):
        return ""
    return at.isoformat(timespec="seconds")
