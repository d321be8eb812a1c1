"""A rack of machines as a cloud."""

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from poolmgr.drivers.base import Device, Driver, FloatingIP
from poolmgr.errors import Busy, Changed, CloudRefused, QuotaExceeded
from poolmgr.ownership import Mark
from poolmgr.settings import check, setting


@dataclass(frozen=True)
class RackSettings:
    """Settings of the rack, in the group ``[rack]``."""

    machines: tuple[str, ...] = setting(
        ("192.0.2.1", "192.0.2.2", "192.0.2.3"), "Addresses of the machines."
    )
    addresses: tuple[str, ...] = setting(
        ("198.51.100.1", "198.51.100.2"), "Addresses that can be moved."
    )
    image: str = setting("preinstalled", "What runs on the machines.")
    strip_pause: float = setting(
        0.2, "Seconds that the power strip needs after each command."
    )

    def __post_init__(self) -> None:
        check(self, "rack")


class Rack(Driver):
    """A rack of machines; creating a device takes a free one."""

    Settings = RackSettings

    def __init__(self, settings: RackSettings) -> None:
        self._settings = settings
        self.image = settings.image
        self._lock = threading.Lock()
        self._devices: dict[str, Device] = {}
        self._ips: dict[str, FloatingIP] = {}
        self._strip_ready_at = 0.0
        self.power_cycles: list[str] = []

    def create_device(self, name: str, mark: Mark, timeout: float) -> Device:
        """Take a free machine."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._lock:
            address = _free(self._settings.machines, self._devices)
            self._devices[address] = Device(
                address, name, "active", address, now, mark=mark
            )
            return self._devices[address]

    def list_devices(self, timeout: float) -> Sequence[Device]:
        """List the machines in use."""
        with self._lock:
            return list(self._devices.values())

    def mark_device(self, device: Device, mark: Mark, timeout: float) -> None:
        """Replace the mark."""
        with self._lock:
            now = self._devices.get(device.id)
            if now is None:
                raise CloudRefused(f"machine {device.id} is not taken")
            mark = mark.written_over(now.mark, device.mark)
            self._devices[device.id] = replace(now, mark=mark)

    def delete_device(self, device: Device, timeout: float) -> bool:
        """Give the machine back."""
        with self._lock:
            for ip in list(self._ips.values()):
                if ip.device_id == device.id:
                    self._set(replace(ip, device_id=None))
            return self._devices.pop(device.id, None) is not None

    def power_cycle(self, device: Device, timeout: float) -> None:
        """Turn a machine off and on; no other driver has this method."""
        with self._lock:
            left = self._strip_ready_at - time.monotonic()
            if left > 0:
                # poolmgr calls again after this time.
                raise Busy("the strip is busy", retry_after=left)
            if device.id not in self._devices:
                raise CloudRefused(f"machine {device.id} is not taken")
            self.power_cycles.append(device.id)
            pause = self._settings.strip_pause
            self._strip_ready_at = time.monotonic() + pause

    def create_ip(self, mark: Mark, timeout: float) -> FloatingIP:
        """Take a free address."""
        with self._lock:
            address = _free(self._settings.addresses, self._ips)
            self._ips[address] = FloatingIP(address, address, None, 1, mark)
            return self._ips[address]

    def list_ips(self, timeout: float) -> Sequence[FloatingIP]:
        """List the addresses in use."""
        with self._lock:
            return list(self._ips.values())

    def mark_ip(self, ip: FloatingIP, mark: Mark, timeout: float) -> None:
        """Replace the mark."""
        with self._lock:
            self._compare(ip)
            self._set(replace(ip, mark=mark))

    def attach_ip(
        self, ip: FloatingIP, device: Device, timeout: float
    ) -> None:
        """Route the address to the machine."""
        with self._lock:
            self._compare(ip)
            self._set(replace(ip, device_id=device.id))

    def detach_ip(self, ip: FloatingIP, timeout: float) -> None:
        """Stop routing the address."""
        with self._lock:
            self._compare(ip)
            self._set(replace(ip, device_id=None))

    def delete_ip(self, ip: FloatingIP, timeout: float) -> bool:
        """Give the address back."""
        with self._lock:
            return self._ips.pop(ip.id, None) is not None

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
