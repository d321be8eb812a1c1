"""What there is in the cloud, and what of it is this pool's.

Nothing here changes anything, so other people's resources are listed, too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from poolmgr.cloud import Cloud
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.errors import Ambiguous, NotFound
from poolmgr.ownership import Mark, Ownership, age_of

Thing = TypeVar("Thing", Device, FloatingIP)


@dataclass(frozen=True)
class Item(Generic[Thing]):
    """A device or a floating IP.

    :ivar resource: as the driver tells it
    :ivar age: seconds since it was made, None when that is not known
    :ivar ours: whether it is this pool's to touch
    :ivar attached_to: name of the device that a floating IP is attached to,
        or its id if the driver does not list it; None when to nothing
    """

    resource: Thing
    age: int | None
    ours: bool
    attached_to: str | None = None

    @property
    def kind(self) -> str:
        """What it is."""
        return "device" if isinstance(self.resource, Device) else "floating IP"

    @property
    def name(self) -> str:
        """What people call it: a device's name, an address."""
        if isinstance(self.resource, Device):
            return self.resource.name
        return self.resource.address

    @property
    def mark(self) -> Mark | None:
        """What poolmgr wrote on it, None if it did not make it."""
        return self.resource.mark


async def list_devices(
    cloud: Cloud, ownership: Ownership
) -> list[Item[Device]]:
    """List all devices, other people's included, the oldest first."""
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
) -> tuple[list[Item[Device]], list[Item[FloatingIP]]]:
    """List all devices and all floating IPs, the oldest first.

    The floating IPs are listed first: one that goes with a device is
    allocated after it and deleted before it.
    """
    ips = await cloud.list_ips()
    devices = await list_devices(cloud, ownership)
    by_id = {each.resource.id: each for each in devices}

    def item(ip: FloatingIP) -> Item[FloatingIP]:
        device = by_id.get(ip.device_id or "")
        ours = ownership.of_ip(
            ip.mark,
            attached=ip.device_id is not None,
            ours=device is not None and device.ours,
        )
        attached_to = device.name if device else ip.device_id
        return Item(ip, _age(ip), ours, attached_to)

    return devices, _oldest_first(map(item, ips))


def find_one(
    kind: str, which: str, items: Sequence[Item[Thing]]
) -> Item[Thing]:
    """Return the one of an id, or else of a name.

    :param kind: what the items are
    :param which: an id, the name of a device, or an address
    :raises NotFound: there is none
    :raises Ambiguous: several have the name, and none the id
    """
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


def _oldest_first(items: Iterable[Item[Thing]]) -> list[Item[Thing]]:
    # What has no known age is likely older than what bears its time.
    return sorted(
        items, key=lambda i: float("-inf") if i.age is None else -i.age
    )
