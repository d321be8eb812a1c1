"""What the reaper's tests share."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from poolmgr.cloud import BlockingCloud
from poolmgr.ownership import Mark, Ownership
from poolmgr.reaper.inventory import (
    DeviceItem,
    Inventory,
    IpItem,
    WantedDevices,
    WantedIps,
)
from poolmgr.reaper.reaper import Reaper
from poolmgr.reaper.rules import Candidate
from poolmgr.settings import PoolSettings, ReaperSettings


class NoJobs:
    """Knows no job."""

    async def reasons(self, marks: Collection[Mark]) -> dict[Mark, str]:
        """None."""
        return {}


class BlockingReaper:
    """A reaper for tests that block.

    It is content with one look, if nothing else is said.

    :param changes: what the reaper is given otherwise
    """

    def __init__(self, cloud: BlockingCloud, **changes: Any) -> None:
        given = {
            "pool": PoolSettings(),
            "settings": ReaperSettings(older_than=60.0, limit=100),
            "jobs": NoJobs(),
            "job_time": 0.0,
            "sightings": 1,
            **changes,
        }
        self.reaper = Reaper(cloud.cloud, **given)
        self._cloud = cloud

    def look(self) -> list[Candidate]:
        """Look once."""
        return self._cloud.wait(self.reaper.look())

    def remove(self, found: Sequence[Candidate]) -> list[Candidate]:
        """Remove what is unowned."""
        return self._cloud.wait(self.reaper.remove(found))


class BlockingInventory:
    """An inventory for tests that block."""

    def __init__(
        self,
        cloud: BlockingCloud,
        ownership: Ownership,
        now: datetime | None = None,
    ) -> None:
        self._inventory = Inventory(cloud.cloud, ownership, now)
        self._cloud = cloud

    def devices(self, wanted: WantedDevices) -> list[DeviceItem]:
        """The devices that are wanted."""
        return self._cloud.wait(self._inventory.devices(wanted))

    def ips(self, wanted: WantedIps) -> list[IpItem]:
        """The floating IPs that are wanted."""
        return self._cloud.wait(self._inventory.ips(wanted))

    def device(self, which: str) -> tuple[DeviceItem, list[str]]:
        """A device, and the addresses attached to it."""
        return self._cloud.wait(self._inventory.device(which))

    def ip(self, which: str) -> IpItem:
        """A floating IP."""
        return self._cloud.wait(self._inventory.ip(which))
