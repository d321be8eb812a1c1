"""A rack of machines as a cloud."""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from poolmgr.drivers.base import Device, Driver, FloatingIP
from poolmgr.errors import Changed, CloudRefused, QuotaExceeded
from poolmgr.ownership import Mark
from poolmgr.settings import check, setting
from poolmgr.waiting import Deadline


@dataclass(frozen=True)
class RackSettings:
    """Settings of the rack: the group ``[rack]``."""

    machines: tuple[str, ...] = setting(
        ("192.0.2.1", "192.0.2.2", "192.0.2.3"), "Addresses of the machines."
    )
    addresses: tuple[str, ...] = setting(
        ("198.51.100.1", "198.51.100.2"), "Addresses that can be moved."
    )
    image: str = setting("preinstalled", "What runs on the machines.")

    def __post_init__(self) -> None:
        check(self, "rack")


class Rack(Driver):
    """Machines that are always on; making a device takes one of them."""

    Settings = RackSettings

    def __init__(self, settings: RackSettings) -> None:
        self._settings = settings
        self.image = settings.image
        self._lock = threading.Lock()
        self._devices: dict[str, Device] = {}
        self._ips: dict[str, FloatingIP] = {}

    def create_device(
        self, name: str, mark: Mark, deadline: Deadline
    ) -> Device:
        """Take a machine that nobody has."""
        deadline.check("taking a machine")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._lock:
            address = _free(self._settings.machines, self._devices)
            self._devices[address] = Device(
                address, name, "active", address, now, mark=mark
            )
            return self._devices[address]

    def wait_for_device(self, device: Device, deadline: Deadline) -> Device:
        """It is on already."""
        return device

    def list_devices(self, deadline: Deadline) -> Sequence[Device]:
        """The machines that are taken."""
        with self._lock:
            return list(self._devices.values())

    def find_devices(self, name: str, deadline: Deadline) -> Sequence[Device]:
        """Those of a name."""
        return [d for d in self.list_devices(deadline) if d.name == name]

    def devices_of_job(
        self, unique: str, deadline: Deadline
    ) -> Sequence[Device]:
        """Those of a job."""
        return [
            device
            for device in self.list_devices(deadline)
            if device.mark and device.mark.unique == unique
        ]

    def mark_device(
        self, device: Device, mark: Mark, deadline: Deadline
    ) -> None:
        """Write on the label."""
        with self._lock:
            now = self._devices.get(device.id)
            if now is None:
                raise CloudRefused(f"nobody has machine {device.id}")
            mark = mark.written_over(now.mark, device.mark)
            self._devices[device.id] = replace(now, mark=mark)

    def delete_device(self, device: Device, deadline: Deadline) -> None:
        """Give the machine back."""
        with self._lock:
            self._devices.pop(device.id, None)
            for ip in list(self._ips.values()):
                if ip.device_id == device.id:
                    self._set(replace(ip, device_id=None))

    def create_ip(self, mark: Mark, deadline: Deadline) -> FloatingIP:
        """Take an address that nobody has."""
        with self._lock:
            address = _free(self._settings.addresses, self._ips)
            self._ips[address] = FloatingIP(address, address, None, 1, mark)
            return self._ips[address]

    def list_ips(self, deadline: Deadline) -> Sequence[FloatingIP]:
        """The addresses that are taken."""
        with self._lock:
            return list(self._ips.values())

    def find_ip(self, address: str, deadline: Deadline) -> FloatingIP | None:
        """That address, if it is taken."""
        with self._lock:
            return self._ips.get(address)

    def ips_of_job(
        self, unique: str, deadline: Deadline
    ) -> Sequence[FloatingIP]:
        """Those of a job."""
        return [
            ip
            for ip in self.list_ips(deadline)
            if ip.mark and ip.mark.unique == unique
        ]

    def device_of_ip(
        self, ip: FloatingIP, deadline: Deadline
    ) -> Device | None:
        """The machine that has the address."""
        with self._lock:
            return self._devices.get(ip.device_id or "")

    def mark_ip(self, ip: FloatingIP, mark: Mark, deadline: Deadline) -> None:
        """Write on the label."""
        with self._lock:
            self._compare(ip)
            self._set(replace(ip, mark=mark))

    def attach_ip(
        self, ip: FloatingIP, device: Device, deadline: Deadline
    ) -> None:
        """Route the address to the machine."""
        with self._lock:
            self._compare(ip)
            self._set(replace(ip, device_id=device.id))

    def detach_ip(self, ip: FloatingIP, deadline: Deadline) -> None:
        """Route it to nowhere."""
        with self._lock:
            self._compare(ip)
            self._set(replace(ip, device_id=None))

    def delete_ip(self, ip: FloatingIP, deadline: Deadline) -> None:
        """Give it back."""
        with self._lock:
            self._ips.pop(ip.id, None)

    def _compare(self, ip: FloatingIP) -> None:
        now = self._ips.get(ip.id)
        if now is None or now.revision != ip.revision:
            raise Changed(f"{ip.address} was changed meanwhile")

    def _set(self, ip: FloatingIP) -> None:
        self._ips[ip.id] = replace(ip, revision=ip.revision + 1)


def _free(all_: Sequence[str], taken: Collection[str]) -> str:
    for address in all_:
        if address not in taken:
            return address
    raise QuotaExceeded(f"all {len(all_)} are taken")
