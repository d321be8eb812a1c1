"""What the reaper's tests share."""

from collections.abc import Iterable, Sequence
from typing import Any

from poolmgr.cloud import BlockingCloud
from poolmgr.gearman import ConnectionOptions
from poolmgr.jobs.in_flight import InFlight
from poolmgr.reaper.reaper import Reaper
from poolmgr.reaper.rules import Candidate
from poolmgr.settings import PoolSettings, ReaperSettings


class BlockingReaper:
    """A reaper for tests that block.

    It is content with one look, if nothing else is said.

    :param changes: what the reaper is given otherwise
    """

    def __init__(self, cloud: BlockingCloud, **changes: Any) -> None:
        given = {
            "pool": PoolSettings(),
            "settings": ReaperSettings(older_than=60.0, limit=100),
            "jobs": InFlight(list, [], ConnectionOptions()),
            "job_time": 0.0,
            "twice": False,
            **changes,
        }
        self.reaper = Reaper(cloud.cloud, **given)
        self._cloud = cloud

    def find(self) -> list[Candidate]:
        """Look once."""
        return self._cloud.wait(self.reaper.find())

    def remove(self, found: Sequence[Candidate]) -> list[Candidate]:
        """Remove what is unowned."""
        return self._cloud.wait(self.reaper.remove(found))


def verdicts(cases: Iterable[Candidate]) -> dict[str, str]:
    """What becomes of each thing, by its name."""
    return {case.item.name: case.verdict for case in cases}
