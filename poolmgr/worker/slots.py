"""Which job may run now: builds never keep short jobs waiting."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from poolmgr.worker.priorities import NORMAL

#: Bytes of the jobs that wait from which on no more are taken: 10,000 of the
#: documented ones have 2 MiB.
HELD_BYTES = 64 * 1024 * 1024

#: Courtesies after which single builds are taken, before more are.
_BY_ONES = 4

JobT = TypeVar("JobT", bound=Hashable)


@dataclass(frozen=True)
class Load:
    """How full the lanes are.

    :ivar long: long jobs running
    :ivar short: short jobs running
    :ivar held: long jobs waiting for one of those to end
    """

    long: int
    short: int
    held: int

    @property
    def total(self) -> int:
        """All jobs that are here."""
        return self.long + self.short + self.held


class Lanes(Generic[JobT]):
    """Two lanes with room of their own, and a place for builds to wait in.

    The job server hands jobs out in order and none can be put back, so to
    reach an urgent job the builds before it have to be taken.  Room is
    reserved before a job is asked for, as if it were of either kind.

    Builds that could not start are taken after a courtesy: another worker
    may have a place for them.  Those that are still with the job server then
    nobody may have one for; or the other is only slow to take many.  So one
    is taken, after another courtesy another, so that workers who are all full
    take as many each; then two, four and so on, until there are no more: an
    urgent job behind a thousand is reached in thirteen courtesies.

    Not for several threads: everything is called in the worker's loop.

    :param long_jobs: most long jobs running at once
    :param short_jobs: most short jobs running at once
    :param held_jobs: most long jobs waiting here
    :param start: starts a job
    :param courtesy: called when room is refused because the others come
        first; :meth:`insisting` is to be called a little later. None:
        there are no others.
    :param scarce: whether a build that is started would only wait
    """

    def __init__(
        self,
        long_jobs: int,
        short_jobs: int,
        held_jobs: int,
        start: Callable[[JobT], None],
        courtesy: Callable[[], None] | None = None,
        scarce: Callable[[], bool] = lambda: False,
    ) -> None:
        self._long_jobs = long_jobs
        self._short_jobs = short_jobs
        self._held_jobs = held_jobs
        self._start = start
        self._courtesy = courtesy
        self._scarce = scarce
        self._reserved = 0
        self._being_courteous = False
        # Which courtesy this is; how many may still be taken after it.
        self._round = 0
        self._allowed = 0
        self._long = 0
        self._short = 0
        # Of each priority. Dicts, because a lost link takes many out of the
        # middle; with the jobs' sizes.
        self._held: tuple[dict[JobT, int], ...] = ({}, {}, {})
        self._held_bytes = 0
        self._holding = False

    @property
    def load(self) -> Load:
        """How full the lanes are."""
        return Load(self._long, self._short, self._held_count)

    @property
    def _held_count(self) -> int:
        return sum(map(len, self._held))

    def reserve(self) -> bool:
        """Keep room for one more job; False when there is none."""
        short = self._short_jobs - self._short
        long = self._long_jobs - self._long
        hold = self._held_jobs - self._held_count
        if self._held_bytes >= HELD_BYTES:
            hold = 0
        if self._reserved >= min(short, long + hold):
            return False
        is_free = self._reserved < long and not self._scarce()
        if self._courtesy is not None and not is_free:
            if not self._allowed:
                self._show_courtesy(self._courtesy)
                return False
            self._allowed -= 1
        self._reserved += 1
        return True

    def _show_courtesy(self, courtesy: Callable[[], None]) -> None:
        if not self._being_courteous:
            self._being_courteous = True
            courtesy()

    @contextmanager
    def insisting(self) -> Iterator[None]:
        """The others had their time: in the block some are asked for."""
        self._being_courteous = False
        self._round += 1
        self._allowed = 2 ** max(0, self._round - _BY_ONES)
        yield
        if not self._reserved:
            # Nobody was to be asked: there is nothing, as far as is known.
            self._round = self._allowed = 0

    def release(self) -> None:
        """Give back room that no job came for."""
        self._reserved -= 1
        self._round = self._allowed = 0

    def admit(
        self, job: JobT, long: bool, size: int = 0, priority: int = NORMAL
    ) -> bool:
        """Take in a job that room was reserved for; start it if it may.

        :param size: bytes that it takes up while it waits
        :param priority: those that wait begin in this order
        :returns: whether it waits
        """
        self._reserved -= 1
        if not long:
            self._short += 1
            self._start(job)
        elif self._long < self._long_jobs and not self._holding:
            self._long += 1
            self._start(job)
        else:
            self._held[priority][job] = size
            self._held_bytes += size
            return True
        return False

    def done(self, long: bool) -> None:
        """A job has ended; the next that waits takes its place."""
        if not long:
            self._short -= 1
        else:
            self._long -= 1
            self._fill()

    def drop(self, job: JobT) -> bool:
        """Forget a job that waits; whether it did."""
        for held in self._held:
            if job in held:
                self._held_bytes -= held.pop(job)
                return True
        return False

    def hold(self) -> None:
        """Start no long job any more."""
        self._holding = True

    @property
    def will_start(self) -> int:
        """How many of the long jobs that wait are going to start."""
        return 0 if self._holding else self._held_count

    def limit(self, long_jobs: int, short_jobs: int, held_jobs: int) -> None:
        """Have other limits; jobs beyond them go on, and no more come."""
        self._long_jobs = long_jobs
        self._short_jobs = short_jobs
        self._held_jobs = held_jobs
        self._fill()

    def _fill(self) -> None:
        """Start long jobs that wait, as far as they may."""
        for held in self._held:
            while held and self._long < self._long_jobs and not self._holding:
                job = next(iter(held))
                self._held_bytes -= held.pop(job)
                self._long += 1
                self._start(job)
