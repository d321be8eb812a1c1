"""What the reaper's tests share."""

from collections.abc import Iterable, Sequence

from poolmgr.cloud import BlockingCloud
from poolmgr.gearman.endpoint import ConnectionOptions
from poolmgr.jobs.in_flight import InFlight
from poolmgr.reaper.reaper import Finding, Reaper
from poolmgr.settings import PoolSettings


class BlockingReaper:
    """A reaper for tests that block.

    It is content with one look, if nothing else is said.

    :param old: seconds from which on no job can be at work on a thing
    :param limit: how many things it may remove at once
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
        """Look once."""
        return self._cloud.wait(self.reaper.find(self._pool, self._old))

    def remove(self, found: Sequence[Finding]) -> list[Finding]:
        """Remove what is unowned."""
        return self._cloud.wait(self.reaper.remove(found, self._limit))


def verdicts(cases: Iterable[Finding]) -> dict[str, str]:
    """What becomes of each thing, by its name."""
    return {case.item.name: case.verdict for case in cases}
