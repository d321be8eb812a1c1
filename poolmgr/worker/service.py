"""The worker: jobs come in, answers go out, until it is told to stop."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from poolmgr.cloud.breaker import Breaker
from poolmgr.gearman.assignment import Assignment
from poolmgr.gearman.worker import Worker, WorkerConnection
from poolmgr.jobs.in_flight import delivered_before
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.settings import WorkerSettings
from poolmgr.settings.gearman import GearmanSettings
from poolmgr.worker.jobs import AssignedJob, JobSlots
from poolmgr.worker.queries import JobServerQueries

LOG = logging.getLogger(__name__)

#: Every running job was answered.
EXIT_DRAINED = 0
#: The time to drain was up: some jobs were stopped and answered with FAIL.
EXIT_STOPPED_JOBS = 3

#: Seconds in which other workers may take builds that would wait here.
PEER_DELAY = 0.05
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
        manager.actions.load_all()
        options = gearman.connection_options()
        manager.ask_delivered_before = partial(delivered_before, options)
        self._queries = JobServerQueries(settings.function, options)
        self.slots = JobSlots(
            settings,
            self._start,
            lambda: self._run(self._prefetch_later()),
            lambda: manager.cloud.circuits.stuck,
        )
        self._worker = Worker(
            gearman.addresses(),
            settings.function,
            self._take,
            self.slots,
            options,
            client_id=f"poolmgr-{socket.gethostname()}-{os.getpid()}",
        )
        # Whether to start what still comes. If not, it goes back when the
        # connection is closed, for another worker.
        self._starts = True
        self._tasks: set[asyncio.Task[None]] = set()
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
            serving = group.create_task(self._worker.run())
            await self._stop.wait()
            code = await self._drain()
            await self._worker.close()
            await self._queries.close()
            serving.cancel()
        return code

    def stop(self) -> None:
        """Have :meth:`run` drain and return."""
        self._stop.set()

    def adopt(self, settings: WorkerSettings) -> None:
        """Use other limits and times from now on."""
        self.settings = settings
        self.slots.adopt(settings)
        self._worker.grab()

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
    def connections(self) -> Sequence[WorkerConnection]:
        """How each connection to a job server is."""
        return self._worker.connections

    @property
    def breakers(self) -> dict[str, Breaker]:
        """All circuit breakers, by what they are for."""
        circuits = self.manager.cloud.circuits
        return {**circuits.capacity, **circuits.calls}

    # -- jobs ---------------------------------------------------------------

    def _take(self, assignment: Assignment) -> None:
        """Take a job that a slot was reserved for."""
        if not self._starts:
            self.slots.release()
            return
        priority = self._queries.next_priority(assignment.server)
        job = AssignedJob(self, assignment, priority)
        if self.slots.admit(job):
            self._run(self._note_clients(job))

    async def _prefetch_later(self) -> None:
        await asyncio.sleep(PEER_DELAY)
        up = [x.address for x in self._worker.connections if x.state == "up"]
        await self._queries.prepare(up)
        self.slots.prefetch(self._worker.grab)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _note_clients(self, job: AssignedJob) -> None:
        job.clients = await self._queries.count_clients(job.assignment)

    def _start(self, job: AssignedJob) -> None:
        if job.clients:
            self._run(self._begin_if_wanted(job))
        else:
            job.begin()

    async def _begin_if_wanted(self, job: AssignedJob) -> None:
        # Out of its own queue the job server would have dropped the job.
        gone = await self._queries.count_clients(job.assignment) == 0
        if job.assignment.lost or not self._starts:
            self.job_ended(job)
        elif gone:
            job.drop()
            self.job_ended(job)
        else:
            job.begin()

    def job_ended(self, job: AssignedJob) -> None:
        """See :class:`~poolmgr.worker.jobs.JobOwner`."""
        self.slots.done(job)
        self._worker.grab()

    def job_lost(self, job: AssignedJob) -> None:
        """See :class:`~poolmgr.worker.jobs.JobOwner`."""
        self.slots.lose(job)
        self._worker.grab()

    # -- the end ------------------------------------------------------------

    async def _drain(self) -> int:
        slots = self.slots
        self._worker.drain()
        self.manager.cloud.circuits.hurry()
        LOG.info(
            "draining: %d running jobs have %g s, %d prefetched builds "
            "half of that to start",
            slots.long + slots.short,
            self.settings.drain_timeout,
            slots.held,
        )
        began = self._loop.time()
        # Builds that wait begin as long as they are likely to end in time. To
        # give them back would cost each a retry, and gearmand gives up a job
        # that has had --job-retries of them.
        while slots.busy:
            # Looked at each time: it may be made shorter meanwhile.
            limit = self.settings.drain_timeout
            spent = self._loop.time() - began
            if spent >= limit / 2 or self.manager.cloud.circuits.stuck:
                slots.pause()
            if spent >= limit:
                return await self._stop_jobs()
            await asyncio.sleep(_TICK)
        if lost := len(slots.lost):
            LOG.warning(
                "drained; %d jobs lost with their connections: the job "
                "servers give them to other workers",
                lost,
            )
        else:
            LOG.info("drained")
        return EXIT_DRAINED

    async def _stop_jobs(self) -> int:
        LOG.warning("the time to drain is up: stopping the running jobs")
        self._starts = False
        self.manager.stop()
        end = self._loop.time() + self.manager.longest_cleanup() + 5.0
        while self.slots.busy and self._loop.time() < end:
            await asyncio.sleep(_TICK)
        return EXIT_STOPPED_JOBS
