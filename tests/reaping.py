"""Helpers of the reaper's tests."""

from collections.abc import Iterable, Sequence

from poolmgr.cloud import BlockingCloud
from poolmgr.gearman.endpoint import ConnectionOptions
from poolmgr.reaper.reaper import Finding, InFlight, Reaper
from poolmgr.settings import PoolSettings


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


def verdicts(cases: Iterable[Finding]) -> dict[str, str]:
    """Return the verdict on each resource, by name."""
    return {case.item.name: case.verdict for case in cases}
