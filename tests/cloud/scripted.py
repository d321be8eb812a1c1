"""A driver whose calls, delays and errors a test controls."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from poolmgr.cloud import Cloud
from poolmgr.drivers.base import Device, Driver, FloatingIP, Limits, Poll
from poolmgr.errors import Changed, CloudRefused
from poolmgr.ownership import Job, Mark
from tests.virtual_time import VirtualPool

T = TypeVar("T")

MARK = Mark.for_job("pool", Job("job", "H:here:1"))


@dataclass(frozen=True)
class Settings:
    """The driver has no settings."""


class ScriptedDriver(Driver):
    """Holds devices and floating IPs in memory, on the loop's clock.

    :ivar calls: the verbs that were called, in order
    :ivar seconds: the duration of each verb; infinite for a hung call
    :ivar before: errors that a verb raises without an effect, one per call
    :ivar after: errors that a verb raises after its effect, one per call
    :ivar boot_time: seconds until a device is active
    :ivar hidden: ids of devices that no verb shows
    """

    Settings = Settings

    def __init__(self, settings: object = None, **limits: Any) -> None:
        self.image = "image"
        self.limits = Limits(**limits)
        self.boot_time = 0.0
        self.calls: list[str] = []
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.before: defaultdict[str, list[BaseException]] = defaultdict(list)
        self.after: defaultdict[str, list[BaseException]] = defaultdict(list)
        self.devices: dict[str, Device] = {}
        self.ips: dict[str, FloatingIP] = {}
        self.ready_at: dict[str, float] = {}
        self.hidden: set[str] = set()
        self._duration = 0.0
        self._number = 0

    def duration(self) -> float:
        """Return the duration of the last call."""
        return self._duration

    def create_device(self, name: str, mark: Mark, timeout: float) -> Device:
        """Create a device that boots."""

        def create() -> Device:
            self._number += 1
            id_ = str(self._number)
            self.devices[id_] = Device(
                id_, name, "building", None, "", None, mark
            )
            self.ready_at[id_] = _now() + self.boot_time
            return self.devices[id_]

        return self._do("create_device", create)

    def list_devices(self, timeout: float) -> Sequence[Device]:
        """List all devices."""
        return self._do("list_devices", self._visible)

    def get_device(self, id: str, timeout: float) -> Device | None:
        """Return a device, or None."""
        return self._do(
            "get_device",
            lambda: next((d for d in self._visible() if d.id == id), None),
        )

    def find_devices(
        self, names: Collection[str], timeout: float
    ) -> Sequence[Device]:
        """List the devices with these names."""
        return self._do(
            "find_devices",
            lambda: [d for d in self._visible() if d.name in names],
        )

    def devices_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> Sequence[Device]:
        """List the devices of these jobs."""
        return self._do(
            "devices_of_jobs",
            lambda: [
                d
                for d in self._visible()
                if d.mark and d.mark.unique in uniques
            ],
        )

    def poll(self, devices: Collection[Device], timeout: float) -> Poll:
        """Return the current state of these devices."""
        ids = {device.id for device in devices}
        return self._do(
            "poll", lambda: Poll([d for d in self._visible() if d.id in ids])
        )

    def mark_device(self, device: Device, mark: Mark, timeout: float) -> None:
        """Write a device's mark."""
        self._do("mark_device", lambda: self._mark(device, mark))

    def delete_device(self, device: Device, timeout: float) -> bool:
        """Delete a device."""
        return self._do(
            "delete_device",
            lambda: self.devices.pop(device.id, None) is not None,
        )

    def create_ip(self, mark: Mark, timeout: float) -> FloatingIP:
        """Create a floating IP."""

        def create() -> FloatingIP:
            self._number += 1
            id_ = str(self._number)
            address = f"192.0.2.{id_}"
            self.ips[id_] = FloatingIP(id_, address, None, 1, mark)
            return self.ips[id_]

        return self._do("create_ip", create)

    def list_ips(self, timeout: float) -> Sequence[FloatingIP]:
        """List all floating IPs."""
        return self._do("list_ips", lambda: list(self.ips.values()))

    def find_ips(
        self, addresses: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        """List the floating IPs with these addresses."""
        return self._do(
            "find_ips",
            lambda: [
                ip for ip in self.ips.values() if ip.address in addresses
            ],
        )

    def ips_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        """List the floating IPs of these jobs."""
        return self._do(
            "ips_of_jobs",
            lambda: [
                ip
                for ip in self.ips.values()
                if ip.mark and ip.mark.unique in uniques
            ],
        )

    def mark_ip(self, ip: FloatingIP, mark: Mark, timeout: float) -> None:
        """Write a floating IP's mark."""
        self._do("mark_ip", lambda: self._change(ip, mark=mark))

    def attach_ip(
        self, ip: FloatingIP, device: Device, timeout: float
    ) -> None:
        """Attach a floating IP to a device."""
        self._do("attach_ip", lambda: self._change(ip, device_id=device.id))

    def detach_ip(self, ip: FloatingIP, timeout: float) -> None:
        """Detach a floating IP."""
        self._do("detach_ip", lambda: self._change(ip, device_id=None))

    def delete_ip(self, ip: FloatingIP, timeout: float) -> bool:
        """Delete a floating IP."""
        return self._do(
            "delete_ip", lambda: self.ips.pop(ip.id, None) is not None
        )

    def add_ip(self, **changes: Any) -> FloatingIP:
        """Add a floating IP without a call."""
        self._number += 1
        ip = FloatingIP(
            str(self._number), f"192.0.2.{self._number}", None, 1, MARK
        )
        self.ips[ip.id] = replace(ip, **changes)
        return self.ips[ip.id]

    def add_device(self, name: str = "", **changes: Any) -> Device:
        """Add an active device without a call."""
        self._number += 1
        id_ = str(self._number)
        device = Device(
            id_,
            name or f"libra-{id_}",
            "active",
            f"10.0.0.{id_}",
            "",
            None,
            MARK,
        )
        self.devices[id_] = replace(device, **changes)
        return self.devices[id_]

    def _do(self, verb: str, effect: Callable[[], T]) -> T:
        self.calls.append(verb)
        self.limiter.acquire()
        self._duration = self.seconds[verb]
        if self.before[verb]:
            raise self.before[verb].pop(0)
        result = effect()
        if self.after[verb]:
            raise self.after[verb].pop(0)
        return result

    def _visible(self) -> list[Device]:
        for id_, device in self.devices.items():
            if device.status == "building" and self.ready_at[id_] <= _now():
                self.devices[id_] = replace(
                    device, status="active", address=f"10.0.0.{id_}"
                )
        return [d for d in self.devices.values() if d.id not in self.hidden]

    def _mark(self, device: Device, mark: Mark) -> None:
        if device.id not in self.devices:
            raise CloudRefused("it was deleted")
        self.devices[device.id] = replace(self.devices[device.id], mark=mark)

    def _change(self, ip: FloatingIP, **changes: Any) -> None:
        current = self.ips.get(ip.id)
        if current is None or current.revision != ip.revision:
            raise Changed("it was changed meanwhile")
        revision = current.revision + 1
        self.ips[ip.id] = replace(current, revision=revision, **changes)


def _now() -> float:
    return asyncio.get_running_loop().time()


def cloud_of(driver: ScriptedDriver, **options: Any) -> Cloud:
    """Return a cloud that uses a driver, on virtual time."""
    return Cloud(driver, pool=VirtualPool(driver.duration), **options)
