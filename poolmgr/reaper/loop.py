"""Runs the reaper at intervals, and logs what it finds."""

import asyncio
import logging
import random
from collections.abc import Sequence

from poolmgr.config.gearman_settings import GearmanSettings
from poolmgr.config.job_servers import addresses, connection_options
from poolmgr.errors import PoolmgrError
from poolmgr.events import tell
from poolmgr.jobs.in_flight import InFlight
from poolmgr.jobs.manager import JobManager
from poolmgr.jobs.registries import longest_job
from poolmgr.reaper.reaper import Reaper
from poolmgr.reaper.rules import Candidate
from poolmgr.settings import ReaperSettings
from poolmgr.text import one_line
from poolmgr.tracing import RequestContext, bound

LOG = logging.getLogger(__name__)


class ReaperLoop:
    """Finds orphans at intervals, and logs each of them once.

    :param manager: runs the jobs of the pool; its observer is told of each
        run
    :param settings: when to run, and whether to remove what is found
    :param gearman: the job servers that may have the jobs
    :ivar settings: those in force
    """

    def __init__(
        self,
        manager: JobManager,
        settings: ReaperSettings,
        gearman: GearmanSettings,
    ) -> None:
        self.settings = settings
        self._manager = manager
        self._reaper = Reaper(
            manager.cloud,
            manager.settings,
            settings,
            InFlight(
                manager.running,
                addresses(gearman),
                connection_options(gearman),
            ),
            self._job_time(),
        )
        self._logged: set[tuple[str, str, str]] = set()

    def adopt(self, settings: ReaperSettings) -> None:
        """Use other settings from now on, and the manager's as they are."""
        self.settings = settings
        self._reaper.adopt(self._manager.settings, settings, self._job_time())

    async def run(self) -> None:
        """Run until cancelled."""
        # Not at once, and not with the other workers of the pool.
        first, longest = 0.1, 1.0
        while True:
            jitter = random.uniform(first, longest)  # noqa: S311
            await asyncio.sleep(self.settings.interval * jitter)
            first, longest = 0.9, 1.1
            if self.settings.mode != "off":
                try:
                    await self.run_once()
                except Exception:
                    LOG.exception("reaper: internal error (a bug in poolmgr)")

    async def run_once(self) -> None:
        """Find orphans once, and remove them if that is wanted."""
        try:
            with bound(RequestContext()):
                found = await self._reaper.find()
                if self.settings.mode == "delete":
                    found = await self._reaper.remove(found)
        except PoolmgrError as error:
            LOG.warning("reaper run failed: %s", one_line(str(error)))
            tell(self._manager.observer.reaper_looked, None)
        else:
            self._log(found)
            tell(self._manager.observer.reaper_looked, found)

    def _job_time(self) -> float:
        return longest_job(self._manager.actions, self._manager.settings)

    def _log(self, found: Sequence[Candidate]) -> None:
        """Log what is new."""
        logged, self._logged = self._logged, set()
        for each in found:
            key = (each.item.thing.id, each.verdict, each.mark.state)
            self._logged.add(key)
            if key not in logged:
                _log(each)


def _log(found: Candidate) -> None:
    text = one_line(found.reason)
    if found.verdict == "removed":
        LOG.warning("removed %s", found)
    elif found.verdict == "failed":
        LOG.error("%s: %s", found, text)
    elif found.verdict == "unowned":
        LOG.warning("orphan: %s: %s", found, text)
    elif found.mark.state == "unconfirmed":
        LOG.warning("possible orphan: %s: %s", found, text)
    else:
        LOG.debug("%s is kept: %s", found, text)
