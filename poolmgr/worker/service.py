"""The worker: it takes jobs from the job servers and answers them."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from poolmgr.gearman.assignment import Assignment
from poolmgr.gearman.worker import Worker
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.settings import WorkerSettings
from poolmgr.settings.gearman import GearmanSettings
from poolmgr.worker.assigned_job import AssignedJob
from poolmgr.worker.queries import JobServerQueries
from poolmgr.worker.slots import JobSlots

LOG = logging.getLogger(__name__)

#: Exit code: all running jobs were answered.
EXIT_DRAINED = 0
#: Exit code: the drain timeout was up, so some jobs were stopped and failed.
EXIT_STOPPED_JOBS = 3

#: Seconds that other workers have to take a build before it is prefetched.
PEER_DELAY = 0.05
#: Seconds between two checks of whether draining has finished.
_TICK = 0.05


class Service:
    """Serves the job servers until it is told to stop.

    Create it on the loop that it runs on, and call its methods there, except
    :meth:`call`.  Any thread may read its attributes.

    :param manager: runs the jobs
    :param gearman: where the job servers are
    :param settings: limits and timeouts
    :ivar manager: runs the jobs
    :ivar settings: the current limits and timeouts
    :ivar slots: the jobs in this worker
    :ivar connections: the connections to the job servers
    :raises ConfigError: an address or the TLS settings cannot be used
    """

    def __init__(
        self,
        manager: AsyncPoolManager,
        gearman: GearmanSettings,
        settings: WorkerSettings,
    ) -> None:
        self.manager = manager
        self.settings = settings
        options = gearman.connection_options()
        self._queries = JobServerQueries(settings.function, options)
        manager.delivered_before = self._queries.delivered_before
        self.slots = JobSlots(
            settings,
            lambda job: self._spawn(self._run(job)),
            lambda: self._spawn(self._prefetch_later()),
            lambda: manager.cloud.circuits.no_capacity,
        )
        self._worker = Worker(
            gearman.addresses(),
            settings.function,
            self._take,
            self.slots,
            options,
            client_id=f"poolmgr-{socket.gethostname()}-{os.getpid()}",
        )
        self.connections = self._worker.connections
        # If False, a job that arrives is left unanswered: when the connection
        # closes, the job server hands it to another worker.
        self._starts = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Serve until :meth:`stop`, then drain.

        :returns: the exit code: :data:`EXIT_DRAINED` or
            :data:`EXIT_STOPPED_JOBS`
        :raises ExceptionGroup: the transport has failed because of a bug, so
            no more jobs arrive
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
        """Make :meth:`run` drain and return."""
        self._stop.set()

    def adopt(self, settings: WorkerSettings) -> None:
        """Use new limits and timeouts."""
        self.settings = settings
        self.slots.adopt(settings)
        # There may be more slots now.
        self._worker.grab()

    def call(self, function: Callable[[], None]) -> None:
        """Schedule a function on the event loop, unless that is closed.

        Any thread may call this.
        """
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    @property
    def draining(self) -> bool:
        """Whether the worker takes no more jobs."""
        return self._stop.is_set()

    @property
    def servers_up(self) -> int:
        """Number of job servers that the worker is registered with."""
        return sum(each.state == "up" for each in self.connections)

    @property
    def status(self) -> str:
        """The state of the worker in one line, for people."""
        slots, settings = self.slots, self.settings
        parts = [
            "draining" if self.draining else "",
            f"{slots.long} of {settings.long_jobs} builds",
            f"{slots.short} of {settings.short_jobs} short jobs running",
            f"{slots.held} builds waiting" if slots.held else "",
            f"{self.servers_up} of {len(self.connections)} job servers",
        ]
        return ", ".join(filter(None, parts))

    # -- jobs ---------------------------------------------------------------

    def _take(self, assignment: Assignment) -> None:
        """Take a job that a slot was reserved for."""
        if not self._starts:
            self.slots.release()
            return
        job = AssignedJob(
            assignment,
            self.manager.is_long(assignment.payload),
            self._queries.next_priority(assignment.server),
        )
        assignment.on_lost = partial(self._lose, job)
        if self.slots.admit(job):
            self._spawn(self._count_clients(job))

    async def _prefetch_later(self) -> None:
        await asyncio.sleep(PEER_DELAY)
        up = [x.address for x in self.connections if x.state == "up"]
        await self._queries.prepare(up)
        self.slots.prefetch(self._worker.grab)

    async def _count_clients(self, job: AssignedJob) -> None:
        job.clients = await self._queries.count_clients(job.assignment)

    async def _run(self, job: AssignedJob) -> None:
        """Run a job in its slot, unless its client has gone meanwhile."""
        gone = False
        if job.clients:
            gone = await self._queries.count_clients(job.assignment) == 0
        # After a lost connection, or when it closes, the job server delivers
        # the job again.
        if self._starts and not job.assignment.lost:
            if gone:
                job.drop()
            else:
                job.answer(await job.start(self.manager))
        # A confirmation takes a round trip, in which the slot is free.
        self.slots.done(job)
        self._worker.grab()
        await job.confirm()

    def _lose(self, job: AssignedJob) -> None:
        """Handle the loss of a job's connection."""
        job.connection_lost()
        self.slots.lose(job)
        self._worker.grab()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # A failure is a bug. Raised in a callback, it ends the process.
            task.result()

    # -- draining -----------------------------------------------------------

    async def _drain(self) -> int:
        slots = self.slots
        self._worker.drain()
        self.manager.cloud.circuits.stop_waiting()
        timeout = self.settings.drain_timeout
        LOG.info("%s; drain timeout %g s", self.status, timeout)
        began = self._loop.time()
        # Prefetched builds start as long as they can be expected to end in
        # time. To return one costs it a retry, and gearmand drops a job after
        # --job-retries of them.
        while slots.busy:
            # Read each time, because a reload may change it.
            limit = self.settings.drain_timeout
            spent = self._loop.time() - began
            if spent >= limit / 2 or self.manager.cloud.circuits.no_capacity:
                slots.pause()
            if spent >= limit:
                return await self._stop_jobs()
            await asyncio.sleep(_TICK)
        LOG.info("drained")
        return EXIT_DRAINED

    async def _stop_jobs(self) -> int:
        LOG.warning("the time to drain is up: stopping the running jobs")
        self._starts = False
        self.manager.stop()
        # Runs answer half a second after their clean-up; the rest is reserve.
        end = self._loop.time() + self.manager.longest_cleanup() + 5.0
        while self.slots.busy and self._loop.time() < end:
            await asyncio.sleep(_TICK)
        return EXIT_STOPPED_JOBS
