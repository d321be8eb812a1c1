"""The jobs in a worker's hands, from their assignment to their answer."""

import asyncio
import logging
import os
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from poolmgr.events import Outcome
from poolmgr.gearman import AnswerStatus, Assignment, Worker
from poolmgr.gearman.address import host_name
from poolmgr.jobs import message as wire
from poolmgr.jobs.delivery import Delivery
from poolmgr.jobs.in_flight import delivered_before
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.ownership import Job
from poolmgr.settings import WorkerSettings
from poolmgr.settings.gearman import GearmanSettings
from poolmgr.text import one_line
from poolmgr.worker.queries import JobServerQueries
from poolmgr.worker.slots import JobSlots

LOG = logging.getLogger(__name__)

#: Seconds in which other workers may take builds that would wait here.
PEER_DELAY = 0.05


@dataclass(eq=False, slots=True)
class _AssignedJob:
    """A job that was assigned to us.

    :ivar clients: how many clients it had when it began to wait; None if it
        did not, or if that is not known
    """

    assignment: Assignment
    long: bool
    delivery: Delivery | None = None
    clients: int | None = None


class AssignedJobs:
    """Starts jobs that come as there are slots, and sends their answers.

    :param manager: runs the jobs
    :param gearman: where the job servers are
    :param settings: how many jobs of each kind may be here
    :ivar slots: reserved before a job is asked for
    :ivar worker: brings the jobs
    :ivar undeliverable: builds that run, but whose connection was lost
    :ivar stopped: whether to start nothing any more: what still comes goes
        back when the connection is closed, for another worker
    :raises ConfigError: an address or the TLS settings cannot be used
    """

    def __init__(
        self,
        manager: AsyncPoolManager,
        gearman: GearmanSettings,
        settings: WorkerSettings,
    ) -> None:
        options = gearman.connection_options()
        manager.ask_delivered_before = partial(delivered_before, options)
        self._manager = manager
        self._queries = JobServerQueries(settings.function, options)
        self.slots: JobSlots[_AssignedJob] = JobSlots(
            settings,
            self._start,
            lambda: self._run(self._prefetch_later()),
            lambda: manager.stuck,
        )
        self.worker = Worker(
            gearman.addresses(),
            settings.function,
            self._take,
            self.slots,
            options,
            client_id=f"poolmgr-{host_name()}-{os.getpid()}",
        )
        self.undeliverable: set[_AssignedJob] = set()
        self.stopped = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Send the answers that are to be sent, and end."""
        await self.worker.close()
        await self._queries.close()

    @property
    def is_busy(self) -> bool:
        """Whether anything has to be waited for.

        A build that nobody can answer is not waited for; what it has made
        is for the job's next delivery.
        """
        return self.slots.in_use > len(self.undeliverable)

    # -- starting -----------------------------------------------------------

    def _take(self, assignment: Assignment) -> None:
        """Take a job that a slot was reserved for."""
        if self.stopped:
            self.slots.release()
            return
        long = self._manager.is_long(assignment.payload)
        job = _AssignedJob(assignment, long)
        assignment.on_lost = partial(self._connection_lost, job)
        size = len(assignment.payload)
        priority = self._queries.next_priority(assignment.server)
        if self.slots.admit(job, long, size, priority):
            self._run(self._note_clients(job))

    async def _prefetch_later(self) -> None:
        await asyncio.sleep(PEER_DELAY)
        up = [x.address for x in self.worker.links if x.state == "up"]
        await self._queries.prepare(up)
        with self.slots.prefetching():
            self.worker.grab()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _start(self, job: _AssignedJob) -> None:
        if job.clients:
            self._run(self._begin_if_wanted(job))
        else:
            self._begin(job)

    async def _note_clients(self, job: _AssignedJob) -> None:
        job.clients = await self._queries.count_clients(job.assignment)

    async def _begin_if_wanted(self, job: _AssignedJob) -> None:
        """Do not build for a client that has gone while its job waited.

        Out of its own queue the job server would have dropped the job.
        """
        assignment = job.assignment
        gone = await self._queries.count_clients(assignment) == 0
        if not (gone or assignment.lost or self.stopped):
            self._begin(job)
            return
        if gone and not assignment.lost:
            LOG.info(
                "unique=%s handle=%s server=%s: not begun: its client has "
                "gone while it waited",
                one_line(assignment.unique),
                one_line(assignment.handle),
                assignment.server,
            )
            assignment.complete(wire.encode({"response": "FAIL"}))
        self._end(job)

    def _begin(self, job: _AssignedJob) -> None:
        assignment = job.assignment
        # A client that gives "-" has the payload stand for its unique: it is
        # nobody's name, and jobs that look alike are still several jobs.
        unique = "" if assignment.unique == "-" else assignment.unique
        job.delivery = self._manager.submit(
            assignment.payload,
            Job(unique, assignment.handle, str(assignment.server)),
            assignment.progress,
        )
        # It may be long, and is not needed any more.
        assignment.payload = b""
        job.delivery.future.add_done_callback(partial(self._answer, job))

    # -- ending -------------------------------------------------------------

    def _answer(
        self, job: _AssignedJob, future: "asyncio.Future[Outcome]"
    ) -> None:
        outcome = future.result()
        on_answered = None
        if outcome.followed:
            on_answered = partial(self._answered, job)
        job.assignment.complete(wire.encode(outcome.answer), on_answered)
        self.undeliverable.discard(job)
        self._end(job)

    def _end(self, job: _AssignedJob) -> None:
        self.slots.done(job.long)
        self.worker.grab()

    def _answered(self, job: _AssignedJob, status: AnswerStatus) -> None:
        assert job.delivery is not None  # noqa: S101 - it was answered
        if status is AnswerStatus.UNKNOWN:
            LOG.warning(
                "job server %s does not know %s any more",
                job.assignment.server,
                one_line(job.assignment.handle),
            )
            job.delivery.undo()
        elif status is not AnswerStatus.DELIVERED:
            job.delivery.undelivered(sent=status is AnswerStatus.LOST)

    def _connection_lost(self, job: _AssignedJob) -> None:
        """The job server will deliver the job again."""
        if self.slots.drop(job):
            self.worker.grab()
        elif job.delivery is not None:
            job.delivery.connection_lost()
            if job.long:
                self.undeliverable.add(job)
