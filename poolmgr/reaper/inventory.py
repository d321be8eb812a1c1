"""What there is in the cloud, and what of it is this pool's.

Nothing here changes anything, so other people's things may be looked at,
too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeVar

from poolmgr.cloud import Cloud
from poolmgr.drivers.base import Device, FloatingIP, Status
from poolmgr.errors import Ambiguous, NotFound
from poolmgr.ownership import Mark, Ownership, State, age_of

T = TypeVar("T", bound="Item")


@dataclass(frozen=True)
class Item:
    """What is known of a thing besides what the cloud says.

    :ivar mark: what poolmgr wrote on it, None if it did not make it
    :ivar age: seconds since it was made, None when that is not known
    :ivar ours: whether it is this pool's to touch
    """

    mark: Mark | None
    age: int | None
    ours: bool


@dataclass(frozen=True)
class DeviceItem(Item):
    """A device.

    :ivar device: as the driver tells it
    """

    device: Device


@dataclass(frozen=True)
class IpItem(Item):
    """A floating IP.

    :ivar ip: as the driver tells it
    :ivar device: what it is attached to, None when to nothing or to what
        the driver does not list
    """

    ip: FloatingIP
    device: Device | None

    @property
    def attached_to(self) -> str | None:
        """The device's name, or else its id; None when unattached."""
        return self.device.name if self.device else self.ip.device_id


@dataclass(frozen=True)
class Wanted:
    """Which things to list.

    :ivar foreign: also what is not this pool's
    :ivar state: what the mark says, or "unmarked"
    :ivar job: the unique of the job it was made for
    :ivar older_than: seconds; leaves out what has no known age
    """

    foreign: bool = False
    state: State | Literal["unmarked"] | None = None
    job: str | None = None
    older_than: int | None = None

    def has(self, item: Item) -> bool:
        """Whether a thing is one of them."""
        mark = item.mark
        return (
            (self.foreign or item.ours)
            and self.state in (None, mark.state if mark else "unmarked")
            and self.job in (None, mark.unique if mark else None)
            and (
                self.older_than is None
                or (item.age is not None and item.age > self.older_than)
            )
        )


@dataclass(frozen=True)
class WantedDevices(Wanted):
    """Which devices to list.

    :ivar status: the one they have
    :ivar name: part of their name
    """

    status: Status | None = None
    name: str = ""

    def has_device(self, item: DeviceItem) -> bool:
        """Whether a device is one of them."""
        return (
            self.has(item)
            and self.status in (None, item.device.status)
            and self.name in str(item.device.name)
        )


@dataclass(frozen=True)
class WantedIps(Wanted):
    """Which floating IPs to list.

    :ivar attached: whether they are attached, None for all
    :ivar device: name or id of the device they are attached to
    """

    attached: bool | None = None
    device: str | None = None

    def has_ip(self, item: IpItem) -> bool:
        """Whether a floating IP is one of them."""
        attached = item.ip.device_id is not None
        return (
            self.has(item)
            and self.attached in (None, attached)
            and self.device in (None, item.attached_to, item.ip.device_id)
        )


class Inventory:
    """Looks at what there is; the oldest comes first.

    :param cloud: the cloud
    :param ownership: what is this pool's
    :param now: the time that ages are told at; None for the present
    """

    def __init__(
        self,
        cloud: Cloud,
        ownership: Ownership,
        now: datetime | None = None,
    ) -> None:
        self._cloud = cloud
        self._ownership = ownership
        self._now = now or datetime.now(UTC)

    async def devices(self, wanted: WantedDevices) -> list[DeviceItem]:
        """The devices that are wanted."""
        every = await self._device_items()
        return [item for item in every if wanted.has_device(item)]

    async def ips(self, wanted: WantedIps) -> list[IpItem]:
        """The floating IPs that are wanted."""
        _devices, every = await self.everything()
        return [item for item in every if wanted.has_ip(item)]

    async def everything(self) -> tuple[list[DeviceItem], list[IpItem]]:
        """All there is, other people's included, seen at one time.

        The floating IPs are looked at first: one that goes with a device is
        allocated after it and deleted before it.
        """
        ips = await self._cloud.list_ips()
        devices = await self._device_items()
        by_id = {item.device.id: item.device for item in devices}
        found = (self._ip(ip, by_id.get(ip.device_id or "")) for ip in ips)
        return devices, _oldest_first(found)

    async def device(self, which: str) -> tuple[DeviceItem, list[str]]:
        """A device and the addresses of the floating IPs attached to it.

        :param which: its id or its name
        :raises NotFound: there is no such device
        :raises Ambiguous: several have the name, and none the id
        """
        every = await self._device_items()
        by_id = [item for item in every if item.device.id == which]
        by_name = [item for item in every if item.device.name == which]
        ids = [item.device.id for item in by_name]
        item = _the_one("device", which, by_id or by_name, ids)
        return item, [
            ip.address
            for ip in await self._cloud.list_ips()
            if ip.device_id == item.device.id
        ]

    async def ip(self, which: str) -> IpItem:
        """A floating IP.

        :param which: its id or its address
        :raises NotFound: there is no such floating IP
        :raises Ambiguous: several have the address, and none the id
        """
        _devices, every = await self.everything()
        by_id = [item for item in every if item.ip.id == which]
        by_address = [item for item in every if item.ip.address == which]
        ids = [item.ip.id for item in by_address]
        return _the_one("floating IP", which, by_id or by_address, ids)

    async def _device_items(self) -> list[DeviceItem]:
        return _oldest_first(
            DeviceItem(
                mark=device.mark,
                age=age_of(device.created, self._now),
                ours=self._ownership.of_device(device.name, device.mark),
                device=device,
            )
            for device in await self._cloud.list_devices()
        )

    def _ip(self, ip: FloatingIP, device: Device | None) -> IpItem:
        of_device = self._ownership.of_device
        made = ip.mark.made if ip.mark else None
        return IpItem(
            mark=ip.mark,
            age=age_of(ip.created or made, self._now),
            ours=self._ownership.of_ip(
                ip.mark,
                attached=ip.device_id is not None,
                ours=device is not None
                and of_device(device.name, device.mark),
            ),
            ip=ip,
            device=device,
        )


def _oldest_first(items: Iterable[T]) -> list[T]:
    # What has no known age is likely older than what bears its time.
    return sorted(
        items, key=lambda i: float("-inf") if i.age is None else -i.age
    )


def _the_one(
    kind: str, which: str, found: Sequence[T], ids: Sequence[str]
) -> T:
    if not found:
        raise NotFound(kind, which)
    if len(found) > 1:
        raise Ambiguous(kind, which, ids)
    return found[0]
