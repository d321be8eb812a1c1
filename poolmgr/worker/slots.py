"""Which job may run now: builds never keep short jobs waiting."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from poolmgr.settings import WorkerSettings

#: Bytes of the prefetched builds from which on no more are taken: 10,000 of
#: the documented ones have 2 MiB.
HELD_BYTES = 64 * 1024 * 1024

JobT = TypeVar("JobT", bound=Hashable)


class JobSlots(Generic[JobT]):
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
    """

    def __init__(
        self,
        settings: WorkerSettings,
        start: Callable[[JobT], None],
        wait_for_peers: Callable[[], None],
        no_capacity: Callable[[], bool] = lambda: False,
    ) -> None:
        self.long = self.short = 0
        self._settings = settings
        self._start = start
        self._wait_for_peers = wait_for_peers
        self._no_capacity = no_capacity
        self._reserved = 0
        self._waiting_for_peers = False
        # How many builds may be taken that have to wait here.
        self._to_prefetch = 0
        # With their priority and size, in the order in which they came.
        self._held: dict[JobT, tuple[int, int]] = {}
        self._held_bytes = 0
        self._paused = False

    @property
    def held(self) -> int:
        """How many long jobs wait for one of those that run to end."""
        return len(self._held)

    @property
    def in_use(self) -> int:
        """How many jobs run, will start, or may still come."""
        will_start = 0 if self._paused else self.held
        return self.long + self.short + will_start + self._reserved

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

    def admit(
        self, job: JobT, long: bool, size: int = 0, priority: int = 0
    ) -> bool:
        """Take in a job that a slot was reserved for; start it if it may.

        :param size: bytes that it takes up while it waits
        :param priority: of those that wait the lowest number begins first
        :returns: whether it waits
        """
        self._reserved -= 1
        if not long:
            self.short += 1
            self._start(job)
            return False
        self._held[job] = priority, size
        self._held_bytes += size
        self._start_held()
        return job in self._held

    def done(self, long: bool) -> None:
        """A job has ended; the next that waits takes its slot."""
        if long:
            self.long -= 1
            self._start_held()
        else:
            self.short -= 1

    def drop(self, job: JobT) -> bool:
        """Forget a job that waits; whether it did."""
        if job not in self._held:
            return False
        _priority, size = self._held.pop(job)
        self._held_bytes -= size
        return True

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
            job = min(self._held, key=self._priority)
            self.drop(job)
            self.long += 1
            self._start(job)

    def _priority(self, job: JobT) -> int:
        return self._held[job][0]
