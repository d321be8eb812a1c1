"""The worker: jobs come in, answers go out, until it is told to stop."""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any

from poolmgr.actions.base import Action
from poolmgr.cloud.breaker import Breaker
from poolmgr.errors import PluginConflict, PluginError
from poolmgr.gearman import ConnectionStatus
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.plugins import Registry
from poolmgr.settings import WorkerSettings
from poolmgr.settings.gearman import GearmanSettings
from poolmgr.text import one_line
from poolmgr.worker.jobs import AssignedJobs

LOG = logging.getLogger(__name__)

#: Every running job was answered.
EXIT_DRAINED = 0
#: What the process ends with when a callback of its own has failed.
EXIT_DEFECT = 1
#: The time to drain was up: some jobs were stopped and answered with FAIL.
EXIT_STOPPED_JOBS = 3

#: Seconds between two looks at whether everything is answered.
_TICK = 0.05


class Service:
    """Serves the job servers until it is told to stop.

    To be made on the loop that it runs on; everything but :meth:`call` and
    what is to be read is called there.

    :param manager: runs the jobs
    :param gearman: where the job servers are
    :param settings: how many jobs, and times
    :ivar manager: runs the jobs
    :ivar settings: those in force
    :ivar slots: how many jobs are here
    :raises ConfigError: an address or the TLS settings cannot be used
    :raises PluginConflict: two plugins share the name of an action
    """

    def __init__(
        self,
        manager: AsyncPoolManager,
        gearman: GearmanSettings,
        settings: WorkerSettings,
    ) -> None:
        self.manager = manager
        self.settings = settings
        load_actions(manager.actions)
        self._jobs = AssignedJobs(manager, gearman, settings)
        self.slots = self._jobs.slots
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Serve until :meth:`stop`, then drain.

        :returns: the exit code: :data:`EXIT_DRAINED` or
            :data:`EXIT_STOPPED_JOBS`
        :raises ExceptionGroup: a defect of the transport: no job comes any
            more, and who started us can do so again
        """
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(self._jobs.worker.run())
            await self._stop.wait()
            code = await self._drain()
            await self._jobs.close()
            serving.cancel()
        return code

    def stop(self) -> None:
        """Have :meth:`run` drain and return."""
        self._stop.set()

    def adopt(self, settings: WorkerSettings) -> None:
        """Use other limits and times from now on."""
        self.settings = settings
        self.slots.adopt(settings)
        self._jobs.worker.grab()

    def call(self, function: Callable[[], None]) -> bool:
        """Have the event loop call something soon; from any thread.

        :returns: False when it is not running
        """
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # it is closed
            return False
        return True

    @property
    def draining(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    @property
    def links(self) -> list[ConnectionStatus]:
        """How each connection to a job server is."""
        return self._jobs.worker.links

    @property
    def breakers(self) -> dict[str, Breaker]:
        """All circuit breakers, by what they are for."""
        circuits = self.manager.cloud.circuits
        return {**circuits.capacity, **circuits.calls}

    # -- the end ------------------------------------------------------------

    async def _drain(self) -> int:
        jobs, slots = self._jobs, self.slots
        jobs.worker.drain()
        self.manager.cloud.circuits.hurry()
        LOG.info(
            "running: %d, they get %g s; waiting: %d, they get half of that "
            "to begin",
            slots.long + slots.short,
            self.settings.drain_timeout,
            slots.held,
        )
        began = self._loop.time()
        # Builds that wait begin as long as they are likely to end in time. To
        # give them back would cost each a retry, and gearmand gives up a job
        # that has had --job-retries of them.
        while jobs.is_busy:
            # Looked at each time: it may be made shorter meanwhile.
            limit = self.settings.drain_timeout
            spent = self._loop.time() - began
            if spent >= limit / 2 or self.manager.stuck:
                slots.pause()
            if spent >= limit:
                return await self._stop_jobs()
            await asyncio.sleep(_TICK)
        if lost := len(jobs.undeliverable):
            LOG.warning(
                "drained; %d jobs were lost with their connection: their job "
                "servers give them to other workers",
                lost,
            )
        else:
            LOG.info("drained")
        return EXIT_DRAINED

    async def _stop_jobs(self) -> int:
        LOG.warning("the time to drain is up: stopping the running jobs")
        self._jobs.stopped = True
        self.manager.stop()
        end = self._loop.time() + self.manager.longest_cleanup() + 5.0
        while self._jobs.is_busy and self._loop.time() < end:
            await asyncio.sleep(_TICK)
        return EXIT_STOPPED_JOBS


def load_actions(actions: Registry[Action[Any]]) -> None:
    """Import every action now: the loop must not wait for it later.

    :raises PluginConflict: two of them share a name
    """
    for name in actions.names():
        try:
            actions.load(name)
        except PluginConflict:
            raise
        except PluginError as error:
            LOG.error("%s", one_line(str(error)))


def end_on_defects() -> None:
    """Have a callback that fails end the process from now on.

    It would lack something until somebody notices.  What supervises it starts
    it again, and its jobs go to another worker at once.
    """

    def handle(
        loop: asyncio.AbstractEventLoop, context: dict[str, Any]
    ) -> None:
        loop.default_exception_handler(context)
        # Only what was called by the loop itself has one: what breaks in a
        # connection costs that connection.
        if "handle" in context:
            LOG.critical(
                "a callback has died, which is a defect of poolmgr: "
                "stopping at once"
            )
            os._exit(EXIT_DEFECT)

    asyncio.get_running_loop().set_exception_handler(handle)
