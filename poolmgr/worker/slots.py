"""The slots that jobs run in, and the prefetched builds."""

from collections.abc import Callable

from poolmgr.settings import WorkerSettings
from poolmgr.worker.assigned_job import AssignedJob

#: Size limit of all prefetched builds together, in bytes.  10,000 builds of
#: the documented form have 2 MiB.
HELD_BYTES = 64 * 1024 * 1024


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
        # There must be room for all of one kind: nobody knows what arrives.
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
