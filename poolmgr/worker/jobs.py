"""The jobs in a worker's hands, and which of them may run now."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from poolmgr.events import Outcome
from poolmgr.gearman.assignment import Assignment
from poolmgr.jobs import message as wire
from poolmgr.jobs.delivery import Delivery
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.ownership import Job
from poolmgr.settings import WorkerSettings
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

#: Bytes of the prefetched builds from which on no more are taken: 10,000 of
#: the documented ones have 2 MiB.
HELD_BYTES = 64 * 1024 * 1024


class JobOwner(Protocol):
    """What has jobs, as they need it.

    :ivar manager: runs them
    """

    manager: AsyncPoolManager

    def job_ended(self, job: "AssignedJob") -> None:
        """A job that had a slot does not need it any more."""

    def job_lost(self, job: "AssignedJob") -> None:
        """A job's answer cannot be delivered any more."""


class AssignedJob:
    """A job that was assigned to us, until its answer is sent.

    :ivar long: whether it is a build, or as long as one
    :ivar priority: of those that wait the lowest number begins first
    :ivar size: bytes that it takes up while it waits
    :ivar clients: how many clients it had when it began to wait; None if it
        did not, or if that is not known
    """

    def __init__(
        self, owner: JobOwner, assignment: Assignment, priority: int
    ) -> None:
        self.assignment = assignment
        self.long = owner.manager.is_long(assignment.payload)
        self.priority = priority
        self.size = len(assignment.payload)
        self.clients: int | None = None
        self._owner = owner
        self._delivery: Delivery | None = None
        assignment.on_lost = self._connection_lost

    def begin(self) -> None:
        """Run the action; the answer is sent when there is one."""
        assignment = self.assignment
        # A client that gives "-" has the payload stand for its unique: it is
        # nobody's name, and jobs that look alike are still several jobs.
        unique = "" if assignment.unique == "-" else assignment.unique
        self._delivery = self._owner.manager.submit(
            assignment.payload,
            Job(unique, assignment.handle, str(assignment.server)),
            assignment.progress,
        )
        # It may be long, and is not needed any more.
        assignment.payload = b""
        answer = partial(self._answer, self._delivery)
        self._delivery.future.add_done_callback(answer)

    def drop(self) -> None:
        """Do not build for a client that has gone while its job waited."""
        LOG.info(
            "unique=%s handle=%s server=%s: dropped: its client has gone "
            "while it waited",
            one_line(self.assignment.unique),
            one_line(self.assignment.handle),
            self.assignment.server,
        )
        self.assignment.complete(wire.encode({"response": "FAIL"}))

    def _answer(
        self, delivery: Delivery, future: "asyncio.Future[Outcome]"
    ) -> None:
        outcome = future.result()
        answer = wire.encode(outcome.answer)
        if not outcome.followed:
            self.assignment.complete(answer)
        elif self.assignment.lost:
            delivery.undelivered(sent=False)
        else:
            taken = self.assignment.deliver(answer)
            taken.add_done_callback(partial(self._answered, delivery))
        self._owner.job_ended(self)

    def _answered(
        self, delivery: Delivery, taken: "asyncio.Future[bool]"
    ) -> None:
        if taken.exception() is not None:
            delivery.undelivered(sent=True)
        elif not taken.result():
            LOG.warning(
                "job server %s does not know %s any more",
                self.assignment.server,
                one_line(self.assignment.handle),
            )
            delivery.undo()

    def _connection_lost(self) -> None:
        """The job server will deliver the job again."""
        if self._delivery is not None:
            self._delivery.connection_lost()
        self._owner.job_lost(self)


class JobSlots:
    """Slots for long and for short jobs, and builds that were prefetched.

    The job server hands jobs out in order and none can be put back, so to
    reach an urgent job the builds before it have to be taken.  A slot is
    reserved before a job is asked for, when it is not known of which kind it
    will be.

    A build that could not start here is left to other workers for a moment:
    one of them may have a slot for it.  If it is still there afterwards, it
    is prefetched, and with it half as many as wait here already: workers who
    are all full share what there is, and an urgent job behind a thousand
    builds is reached within a second.

    Everything is called on the worker's loop; any thread may read the
    numbers.

    :param settings: how many jobs of each kind may be here
    :param start: starts a job
    :param wait_for_peers: called when a build would have to wait here; some
        time later :meth:`prefetch` is to be called
    :param no_capacity: whether a build that is started would only wait
    :ivar long: how many long jobs run
    :ivar short: how many short jobs run
    :ivar lost: builds that run, but whose connection was lost
    """

    def __init__(
        self,
        settings: WorkerSettings,
        start: Callable[[AssignedJob], None],
        wait_for_peers: Callable[[], None],
        no_capacity: Callable[[], bool] = lambda: False,
    ) -> None:
        self.long = self.short = 0
        self.lost: set[AssignedJob] = set()
        self._settings = settings
        self._start = start
        self._wait_for_peers = wait_for_peers
        self._no_capacity = no_capacity
        self._reserved = 0
        self._waiting_for_peers = False
        # How many builds may be taken that have to wait here.
        self._to_prefetch = 0
        # A dictionary keeps the order in which they came.
        self._held: dict[AssignedJob, None] = {}
        self._held_bytes = 0
        self._paused = False

    @property
    def held(self) -> int:
        """How many long jobs wait for one of those that run to end."""
        return len(self._held)

    @property
    def busy(self) -> bool:
        """Whether jobs run, will start, or may still come.

        A build that nobody can answer does not count; what it has made is
        for the job's next delivery.
        """
        will_start = 0 if self._paused else self.held
        here = self.long + self.short + will_start + self._reserved
        return here > len(self.lost)

    def reserve(self) -> bool:
        """Keep a slot for one more job; False when there is none."""
        long = self._settings.long_jobs - self.long
        short = self._settings.short_jobs - self.short
        held = self._settings.held_jobs - self.held
        if self._held_bytes >= HELD_BYTES:
            held = 0
        if self._reserved >= min(short, long + held):
            return False
        if self._reserved >= long or self._no_capacity():
            if not self._to_prefetch:
                if not self._waiting_for_peers:
                    self._waiting_for_peers = True
                    self._wait_for_peers()
                return False
            self._to_prefetch -= 1
        self._reserved += 1
        return True

    def prefetch(self, grab: Callable[[], None]) -> None:
        """Ask for builds that have to wait here: other workers had their
        time.

        :param grab: asks for jobs as far as slots can be reserved
        """
        self._waiting_for_peers = False
        self._to_prefetch = max(1, self.held // 2)
        grab()
        if not self._reserved:
            # No job server has anything.
            self._to_prefetch = 0

    def release(self) -> None:
        """Give back a slot that no job came for."""
        self._reserved -= 1
        self._to_prefetch = 0

    def admit(self, job: AssignedJob) -> bool:
        """Take in a job that a slot was reserved for; start it if it may.

        :returns: whether it waits
        """
        self._reserved -= 1
        if not job.long:
            self.short += 1
            self._start(job)
            return False
        self._held[job] = None
        self._held_bytes += job.size
        self._start_held()
        return job in self._held

    def done(self, job: AssignedJob) -> None:
        """A job has ended; the next that waits takes its slot."""
        self.lost.discard(job)
        if job.long:
            self.long -= 1
            self._start_held()
        else:
            self.short -= 1

    def lose(self, job: AssignedJob) -> None:
        """A job's connection was lost: it is forgotten if it still waits."""
        if job in self._held:
            self._take_out(job)
        elif job.long:
            self.lost.add(job)

    def pause(self) -> None:
        """Start no long job any more."""
        self._paused = True

    def adopt(self, settings: WorkerSettings) -> None:
        """Have other limits; jobs beyond them go on, and no more come."""
        self._settings = settings
        self._start_held()

    def _start_held(self) -> None:
        while (
            self._held
            and self.long < self._settings.long_jobs
            and not self._paused
        ):
            job = min(self._held, key=lambda each: each.priority)
            self._take_out(job)
            self.long += 1
            self._start(job)

    def _take_out(self, job: AssignedJob) -> None:
        del self._held[job]
        self._held_bytes -= job.size
