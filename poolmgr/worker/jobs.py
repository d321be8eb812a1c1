"""The jobs that a worker has, and the slots that they run in."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from poolmgr.errors import TransportError
from poolmgr.events import Outcome
from poolmgr.gearman.assignment import Assignment
from poolmgr.jobs import message as wire
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.jobs.run import Delivery
from poolmgr.ownership import Job
from poolmgr.settings import WorkerSettings
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

#: Size limit of all prefetched builds together, in bytes.  10,000 builds of
#: the documented form have 2 MiB.
HELD_BYTES = 64 * 1024 * 1024


@dataclass(eq=False, slots=True)
class AssignedJob:
    """A job that a job server has assigned to this worker.

    :ivar assignment: the job as it arrived
    :ivar long: whether it is a long job
    :ivar priority: of the prefetched jobs the lowest number starts first
    :ivar clients: number of clients that waited for it when it was
        prefetched; None if it was not, or if the number is unknown
    """

    assignment: Assignment
    long: bool
    priority: int
    clients: int | None = None
    _delivery: Delivery | None = None
    _accepted: asyncio.Future[bool] | None = None

    @property
    def size(self) -> int:
        """Bytes of its payload; 0 once it has started."""
        return len(self.assignment.payload)

    def start(self, manager: AsyncPoolManager) -> asyncio.Future[Outcome]:
        """Start the action.

        :returns: its outcome, for :meth:`answer`
        """
        assignment = self.assignment
        # With the unique "-" the payload identifies the job, so different
        # jobs of the same payload would look like one.
        unique = "" if assignment.unique == "-" else assignment.unique
        self._delivery = manager.submit(
            assignment.payload,
            Job(unique, assignment.handle, str(assignment.server)),
            assignment.progress,
        )
        assignment.payload = b""  # it may be large
        return self._delivery.future

    def answer(self, outcome: Outcome) -> None:
        """Send the answer, unless the connection is lost."""
        assignment, answer = self.assignment, wire.encode(outcome.answer)
        if not outcome.followed:
            assignment.complete(answer)
        elif not assignment.lost:
            self._accepted = assignment.deliver(answer)
        elif self._delivery is not None:
            self._delivery.undelivered(sent=False)

    async def confirm(self) -> None:
        """Wait until the job server has accepted the answer; undo the job if
        it refuses it."""
        if self._delivery is None or self._accepted is None:
            return
        try:
            accepted = await self._accepted
        except TransportError:
            self._delivery.undelivered(sent=True)
            return
        if not accepted:
            self._delivery.undo()

    def drop(self) -> None:
        """Answer without running the action, because the client has gone."""
        job = self.assignment
        name = f"unique={job.unique} handle={job.handle} server={job.server}"
        LOG.info("%s: dropped: its client has gone", one_line(name))
        self.assignment.complete(wire.encode({"response": "FAIL"}))

    def connection_lost(self) -> None:
        """Note that the answer cannot be delivered; the job server delivers
        the job again."""
        if self._delivery is not None:
            self._delivery.connection_lost()


class JobSlots:
    """Slots for long and for short jobs, and the prefetched builds.

    A job server hands out jobs in order and takes none back, so the worker
    has to take the builds in front of an urgent job as well.  It reserves a
    slot before it asks for a job, whose kind is not known yet.

    A build that could not start here is left to other workers for a moment,
    because one of them may have a free slot.  If it is still queued after
    that, it is prefetched, and with it half as many builds as are prefetched
    already: full workers share the queue, and a worker reaches an urgent job
    behind a thousand builds within a second.

    Call all methods on the worker's loop; any thread may read the numbers.

    :param settings: the limits
    :param start: starts a job
    :param wait_for_peers: called before a build is prefetched; has to call
        :meth:`prefetch` a moment later
    :param no_capacity: returns whether a started build would only wait
    :ivar long: number of running long jobs
    :ivar short: number of running short jobs
    :ivar lost: running long jobs whose connection was lost
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
        # How many more builds may be prefetched now.
        self._to_prefetch = 0
        # A dictionary keeps the order in which they arrived.
        self._held: dict[AssignedJob, None] = {}
        self._held_bytes = 0
        self._paused = False

    @property
    def held(self) -> int:
        """Number of prefetched jobs."""
        return len(self._held)

    @property
    def busy(self) -> bool:
        """Whether jobs run, will start, or may still arrive.

        Builds whose connection was lost do not count: nobody gets their
        answers, and the next delivery takes over what they have created.
        """
        will_start = 0 if self._paused else self.held
        here = self.long + self.short + will_start + self._reserved
        return here > len(self.lost)

    def reserve(self) -> bool:
        """Reserve a slot for one more job; return False if none is free."""
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
        """Prefetch builds that no other worker has taken in the meantime.

        :param grab: asks for as many jobs as slots can be reserved
        """
        self._waiting_for_peers = False
        self._to_prefetch = max(1, self.held // 2)
        grab()
        if not self._reserved:  # no job server has a job
            self._to_prefetch = 0

    def release(self) -> None:
        """Release a reserved slot, because no job arrived."""
        self._reserved -= 1
        self._to_prefetch = 0

    def admit(self, job: AssignedJob) -> bool:
        """Put a job into its reserved slot, and start it if it may start.

        :returns: whether it has to wait
        """
        self._reserved -= 1
        if not job.long:
            # Only builds are left to other workers: look further at once.
            self._to_prefetch = max(1, self._to_prefetch)
            self.short += 1
            self._start(job)
            return False
        self._held[job] = None
        self._held_bytes += job.size
        self._start_held()
        return job in self._held

    def done(self, job: AssignedJob) -> None:
        """Release the slot of a job that has ended."""
        self.lost.discard(job)
        if job.long:
            self.long -= 1
            self._start_held()
        else:
            self.short -= 1

    def lose(self, job: AssignedJob) -> None:
        """Forget a prefetched job, or mark a running one as lost."""
        if job in self._held:
            self._remove_held(job)
        elif job.long:
            self.lost.add(job)

    def pause(self) -> None:
        """Start no more long jobs."""
        self._paused = True

    def adopt(self, settings: WorkerSettings) -> None:
        """Use new limits; jobs beyond them continue."""
        self._settings = settings
        self._start_held()

    def _start_held(self) -> None:
        while (
            self._held
            and self.long < self._settings.long_jobs
            and not self._paused
        ):
            job = min(self._held, key=lambda each: each.priority)
            self._remove_held(job)
            self.long += 1
            self._start(job)

    def _remove_held(self, job: AssignedJob) -> None:
        del self._held[job]
        self._held_bytes -= job.size
