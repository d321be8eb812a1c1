"""Helpers of the reaper's tests."""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from poolmgr.cloud import BlockingCloud
from poolmgr.drivers.base import Device
from poolmgr.drivers.fake import FakeCloud
from poolmgr.gearman.endpoint import ConnectionOptions
from poolmgr.ownership import Mark
from poolmgr.reaper.reaper import Finding, InFlight, Reaper
from poolmgr.settings import PoolSettings

#: The timeout of a driver's calls, in seconds.
TIMEOUT = 60.0
HOURS_AGO = (datetime.now(UTC) - timedelta(hours=2)).isoformat("T", "seconds")
#: The mark of a build that was never answered.
OLD_MARK = Mark("libra", "unique-1", "H:host:1", HOURS_AGO)


class BlockingReaper:
    """A blocking reaper.

    By default one search is enough to delete.

    :param old: age in seconds beyond which no job can use a resource
    :param limit: maximum number of deletions
    """

    def __init__(
        self,
        cloud: BlockingCloud,
        pool: PoolSettings | None = None,
        jobs: InFlight | None = None,
        old: float = 60.0,
        limit: int = 100,
        twice: bool = False,
    ) -> None:
        jobs = jobs or InFlight(list, [], ConnectionOptions())
        self.reaper = Reaper(cloud.cloud, jobs, twice)
        self._cloud = cloud
        self._pool = pool or PoolSettings()
        self._old = old
        self._limit = limit

    def find(self) -> list[Finding]:
        """Search once."""
        return self._cloud.wait(self.reaper.find(self._pool, self._old))

    def remove(self, found: Sequence[Finding]) -> list[Finding]:
        """Delete the orphans."""
        return self._cloud.wait(self.reaper.remove(found, self._limit))


def verdicts(findings: Iterable[Finding]) -> dict[str, str]:
    """Return the verdict on each resource, by name."""
    return {finding.item.name: finding.verdict for finding in findings}


def make_older(path: Path) -> None:
    """Make all devices two hours older."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE device SET created = created - 7200")


def create_old_device(
    cloud: FakeCloud, name: str, mark: Mark | None, age: float = 7200.0
) -> Device:
    """Create a device that looks as old as given, in seconds."""
    then = time.time() - age
    with patch("poolmgr.drivers.fake.cloud.time") as clock:
        clock.time.return_value = then
        return cloud.create_device(name, mark, TIMEOUT)
