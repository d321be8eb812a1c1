"""The devices and floating IPs in the cloud, including foreign ones.

Nothing here changes a resource.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from poolmgr.cloud import Cloud
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.errors import Ambiguous, NotFound
from poolmgr.ownership import Mark, Ownership, age_of


@dataclass(frozen=True)
class Item:
    """A device or a floating IP.

    :ivar resource: the :class:`~poolmgr.drivers.base.Device` or
        :class:`~poolmgr.drivers.base.FloatingIP` from the driver
    :ivar age: seconds since its creation; None if unknown
    :ivar ours: whether this pool may change it
    :ivar attached_to: name of the device that a floating IP is attached to,
        or its id if the device is not listed; None if it is not attached
    """

    resource: Any
    age: int | None
    ours: bool
    attached_to: str | None = None

    @property
    def kind(self) -> str:
        """The kind of resource, for people."""
        return "device" if isinstance(self.resource, Device) else "floating IP"

    @property
    def name(self) -> str:
        """A device's name, or an address."""
        if isinstance(self.resource, Device):
            return self.resource.name
        return str(self.resource.address)

    @property
    def mark(self) -> Mark | None:
        """poolmgr's mark; None if poolmgr did not create the resource."""
        mark: Mark | None = self.resource.mark
        return mark


async def list_devices(cloud: Cloud, ownership: Ownership) -> list[Item]:
    """List all devices, the oldest first."""
    return _oldest_first(
        Item(
            device,
            _age(device),
            ownership.of_device(device.name, device.mark),
        )
        for device in await cloud.list_devices()
    )


async def list_everything(
    cloud: Cloud, ownership: Ownership
) -> tuple[list[Item], list[Item]]:
    """List all devices and all floating IPs, the oldest first.

    The floating IPs are listed first.  A device's own floating IP is created
    after the device and deleted before it, so it is never listed without its
    device.
    """
    ips = await cloud.list_ips()
    devices = await list_devices(cloud, ownership)
    by_id = {each.resource.id: each for each in devices}

    def item(ip: FloatingIP) -> Item:
        device = by_id.get(ip.device_id or "")
        ours = ownership.of_ip(
            ip.mark,
            attached=ip.device_id is not None,
            ours=device is not None and device.ours,
        )
        attached_to = device.name if device else ip.device_id
        return Item(ip, _age(ip), ours, attached_to)

    return devices, _oldest_first(map(item, ips))


def find_one(kind: str, which: str, items: Sequence[Item]) -> Item:
    """Return the item that has an id; if there is none, the one that has it
    as its name.

    :param kind: the kind of the items, for errors
    :param which: an id, the name of a device, or an address
    :raises NotFound: there is no match
    :raises Ambiguous: several items have the name
    """
    # A device may be named like the id of another one.
    by_id = [each for each in items if each.resource.id == which]
    by_name = [each for each in items if each.name == which]
    found = by_id or by_name
    if not found:
        raise NotFound(kind, which)
    if len(found) > 1:
        raise Ambiguous(kind, which, [each.resource.id for each in found])
    return found[0]


def _age(resource: Device | FloatingIP) -> int | None:
    made = resource.mark.made if resource.mark else None
    return age_of(resource.created or made, datetime.now(UTC))


def _oldest_first(items: Iterable[Item]) -> list[Item]:
    # A resource of unknown age is likely older than those with a time.
    return sorted(
        items, key=lambda i: float("-inf") if i.age is None else -i.age
    )
