"""The jobs in a worker's hands, from their assignment to their answer."""

import asyncio
import logging
import os
from collections.abc import Coroutine
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


class AssignedJob:
    """A job that was assigned to us, until its answer is sent.

    :ivar clients: how many clients it had when it began to wait; None if it
        did not, or if that is not known
    """

    # A worker may have ten thousand of them.
    __slots__ = ("_delivery", "_jobs", "assignment", "clients", "long")

    def __init__(
        self, jobs: "AssignedJobs", assignment: Assignment, long: bool
    ) -> None:
        self.assignment = assignment
        self.long = long
        self.clients: int | None = None
        self._jobs = jobs
        self._delivery: Delivery | None = None
        assignment.on_lost = self._connection_lost

    def begin(self) -> None:
        """Run the action; the answer is sent when there is one."""
        assignment = self.assignment
        # A client that gives "-" has the payload stand for its unique: it is
        # nobody's name, and jobs that look alike are still several jobs.
        unique = "" if assignment.unique == "-" else assignment.unique
        self._delivery = self._jobs.manager.submit(
            assignment.payload,
            Job(unique, assignment.handle, str(assignment.server)),
            assignment.progress,
        )
        # It may be long, and is not needed any more.
        assignment.payload = b""
        self._delivery.future.add_done_callback(self._answer)

    def drop(self) -> None:
        """Do not build for a client that has gone while its job waited."""
        LOG.info(
            "unique=%s handle=%s server=%s: not begun: its client has gone "
            "while it waited",
            one_line(self.assignment.unique),
            one_line(self.assignment.handle),
            self.assignment.server,
        )
        self.assignment.complete(wire.encode({"response": "FAIL"}))

    def _answer(self, future: "asyncio.Future[Outcome]") -> None:
        outcome = future.result()
        on_answered = self._answered if outcome.followed else None
        self.assignment.complete(wire.encode(outcome.answer), on_answered)
        self._jobs.ended(self)

    def _answered(self, status: AnswerStatus) -> None:
        assert self._delivery is not None  # noqa: S101 - it was answered
        if status is AnswerStatus.UNKNOWN:
            LOG.warning(
                "job server %s does not know %s any more",
                self.assignment.server,
                one_line(self.assignment.handle),
            )
            self._delivery.undo()
        elif status is not AnswerStatus.DELIVERED:
            self._delivery.undelivered(sent=status is AnswerStatus.LOST)

    def _connection_lost(self) -> None:
        """The job server will deliver the job again."""
        if self._delivery is not None:
            self._delivery.connection_lost()
        self._jobs.connection_lost(self)


class AssignedJobs:
    """Starts jobs that come as there are slots.

    :param manager: runs the jobs
    :param gearman: where the job servers are
    :param settings: how many jobs of each kind may be here
    :ivar manager: runs the jobs
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
        self.manager = manager
        self._queries = JobServerQueries(settings.function, options)
        self.slots: JobSlots[AssignedJob] = JobSlots(
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
        self.undeliverable: set[AssignedJob] = set()
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

    def ended(self, job: AssignedJob) -> None:
        """A job that had a slot does not need it any more."""
        self.undeliverable.discard(job)
        self.slots.done(job.long)
        self.worker.grab()

    def connection_lost(self, job: AssignedJob) -> None:
        """A job's answer cannot be delivered any more."""
        if self.slots.drop(job):
            self.worker.grab()
        elif job.long:
            self.undeliverable.add(job)

    # -- starting -----------------------------------------------------------

    def _take(self, assignment: Assignment) -> None:
        """Take a job that a slot was reserved for."""
        if self.stopped:
            self.slots.release()
            return
        long = self.manager.is_long(assignment.payload)
        job = AssignedJob(self, assignment, long)
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
        if job.assignment.lost or self.stopped:
            self.ended(job)
        elif gone:
            job.drop()
            self.ended(job)
        else:
            job.begin()
