"""The reaper in a worker's process."""

from poolmgr.config.job_servers import addresses, link_options
from poolmgr.gearman.settings import GearmanSettings
from poolmgr.jobs.in_flight import InFlight
from poolmgr.jobs.manager import PoolManager, longest_job
from poolmgr.reaper.loop import Rounds
from poolmgr.reaper.rules import Reaper
from poolmgr.settings import ReaperSettings


class Reaping:
    """A reaper with its rounds, for the pool of a manager.

    :ivar settings: those in force
    :ivar rounds: to be set going
    """

    def __init__(
        self,
        manager: PoolManager,
        settings: ReaperSettings,
        gearman: GearmanSettings,
    ) -> None:
        self.settings = settings
        self._manager = manager
        self._reaper = Reaper(
            manager.driver,
            manager.settings,
            settings,
            InFlight(
                manager.running, addresses(gearman), link_options(gearman)
            ),
            self._job_time(),
        )
        self.rounds = Rounds(
            self._reaper, settings.mode, settings.interval, manager.observer
        )

    def adopt(self, settings: ReaperSettings) -> None:
        """Use other settings from now on, and the manager's as they are."""
        self.settings = settings
        self._reaper.adopt(self._manager.settings, settings, self._job_time())
        self.rounds.mode = settings.mode
        self.rounds.interval = settings.interval

    def _job_time(self) -> float:
        return longest_job(self._manager.actions, self._manager.settings)
