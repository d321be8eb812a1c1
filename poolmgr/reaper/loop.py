"""Runs the reaper at intervals, and logs what it finds."""

import asyncio
import logging
import random

from poolmgr.errors import PoolmgrError
from poolmgr.events import tell
from poolmgr.jobs.in_flight import InFlight
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.jobs.request import longest_job
from poolmgr.reaper.reaper import Finding, Reaper
from poolmgr.settings import ReaperSettings
from poolmgr.settings.gearman import GearmanSettings
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
        """Use other settings from now on."""
        self.settings = settings

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            # Not at the same time as the other workers of the pool.
            jitter = random.uniform(0.5, 1.5)  # noqa: S311
            await asyncio.sleep(self.settings.interval * jitter)
            if self.settings.mode != "off":
                try:
                    await self.run_once()
                except Exception:
                    LOG.exception("reaper: internal error (a bug in poolmgr)")

    async def run_once(self) -> None:
        """Find orphans once, and remove them if that is wanted."""
        settings, pool = self.settings, self._manager.settings
        # Jobs that began under other settings may still run, so the time that
        # a job may take never becomes shorter.
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
        for each in found:
            if _key(each) not in self._logged:
                _log(each)
        self._logged = set(map(_key, found))
        tell(self._manager.observer.reaper_looked, found)


def _key(found: Finding) -> tuple[str, str, str]:
    """What is logged once."""
    return found.item.resource.id, found.verdict, found.mark.state


def _log(found: Finding) -> None:
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
