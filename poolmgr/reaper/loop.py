"""Runs the reaper at intervals, and logs its findings."""

import asyncio
import logging
from collections.abc import Sequence
from random import SystemRandom

from poolmgr.errors import PoolmgrError
from poolmgr.events import tell
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.jobs.request import longest_job
from poolmgr.reaper.reaper import Finding, InFlight, Reaper
from poolmgr.settings import ReaperSettings
from poolmgr.settings.gearman import GearmanSettings
from poolmgr.text import one_line
from poolmgr.tracing import RequestContext, bound

LOG = logging.getLogger(__name__)


class ReaperLoop:
    """Runs the reaper at intervals, and logs each finding once.

    :param manager: runs the jobs of the pool; its observer gets the findings
    :param settings: the interval, and whether to delete
    :param gearman: the job servers that may have the jobs
    :ivar settings: the current settings
    """

    def __init__(
        self,
        manager: AsyncPoolManager,
        settings: ReaperSettings,
        gearman: GearmanSettings,
    ) -> None:
        servers, options = gearman.addresses(), gearman.connection_options()
        jobs = InFlight(manager.running, servers, options)
        self._reaper = Reaper(manager.cloud, jobs)
        self._manager = manager
        self._job_time = longest_job(manager.actions, manager.settings)
        self._logged: set[tuple[str, str, str]] = set()
        self.settings = settings

    def adopt(self, settings: ReaperSettings) -> None:
        """Use new settings."""
        self.settings = settings

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            # The workers of a pool should not all run at the same time.
            jitter = SystemRandom().uniform(0.5, 1.5)
            await asyncio.sleep(self.settings.interval * jitter)
            if self.settings.mode != "off":
                try:
                    await self.run_once()
                # Orphans cost money: a bug must not end the search for good.
                except Exception:
                    LOG.exception("reaper: internal error (a bug in poolmgr)")

    async def run_once(self) -> None:
        """Find the orphans, and delete them if the settings say so."""
        settings, pool = self.settings, self._manager.settings
        # Jobs that started before a reload keep their time limits, so the
        # longest time of a job never decreases.
        longest = longest_job(self._manager.actions, pool)
        self._job_time = max(self._job_time, longest)
        old = max(settings.older_than, self._job_time)
        try:
            with bound(RequestContext()):
                found = await self._reaper.find(pool, old)
                if settings.mode == "delete":
                    found = await self._reaper.remove(found, settings.limit)
        except PoolmgrError as error:
            LOG.warning("reaper run failed: %s", one_line(str(error)))
            tell(self._manager.observer.reaper_looked, None)
            return
        self._log(found)
        tell(self._manager.observer.reaper_looked, found)

    def _log(self, findings: Sequence[Finding]) -> None:
        # Only the last run's, so that one that comes back is logged again.
        logged, self._logged = self._logged, set()
        for each in findings:
            key = each.item.resource.id, each.verdict, each.mark.state
            self._logged.add(key)
            if key in logged:
                continue
            doubtful = each.mark.state == "unconfirmed"
            harmless = each.verdict == "kept" and not doubtful
            level = logging.DEBUG if harmless else logging.WARNING
            title = "orphan" if each.verdict == "unowned" else each.verdict
            LOG.log(level, "%s: %s: %s", title, each, one_line(each.reason))
