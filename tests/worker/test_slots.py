"""Builds never keep short jobs waiting."""

from typing import Any
from unittest.mock import Mock

import pytest

from poolmgr.settings import WorkerSettings
from poolmgr.worker.jobs import AssignedJob, JobSlots


def build(name: str, priority: int = 0, long: bool = True) -> Mock:
    """A job that was assigned to a worker."""
    job = Mock(AssignedJob, long=long, priority=priority, size=0)
    job.name = name
    return job


class Slots:
    """Slots, the jobs they have started, and how often they asked for a
    moment for others.

    :ivar no_capacity: whether a build would only wait
    """

    def __init__(self, long: int, short: int, held: int) -> None:
        self.running: list[Any] = []
        self.moments = 0
        self.no_capacity = False
        self.slots = JobSlots(
            WorkerSettings(long_jobs=long, short_jobs=short, held_jobs=held),
            self.running.append,
            self._wait_for_peers,
            lambda: self.no_capacity,
        )

    @property
    def started(self) -> list[str]:
        """The names of the jobs that have started."""
        return [job.name for job in self.running]

    @property
    def load(self) -> tuple[int, int, int]:
        """How many long and short jobs run, and how many wait."""
        return self.slots.long, self.slots.short, self.slots.held

    def _wait_for_peers(self) -> None:
        self.moments += 1

    def admit(self, *jobs: AssignedJob) -> None:
        """Each job comes as soon as there may be one."""
        for job in jobs:
            if not self.slots.reserve():
                assert self.prefetch(1) == 1
            self.slots.admit(job)

    def end_build(self) -> None:
        """A build that runs has ended."""
        self.slots.done(build("any"))

    def prefetch(self, there: int) -> int:
        """Other workers had their time; how many jobs are asked for.

        :param there: how many the job servers have
        """
        asked = 0

        def grab() -> None:
            nonlocal asked
            while asked < there and self.slots.reserve():
                asked += 1

        self.slots.prefetch(grab)
        return asked


def test_a_short_job_starts_however_many_builds_wait() -> None:
    here = Slots(long=1, short=1, held=100)
    for number in range(50):
        here.admit(build(f"build {number}"))

    here.admit(build("assign", long=False))

    assert here.started == ["build 0", "assign"]
    assert here.load == (1, 1, 49)


def test_builds_that_wait_start_in_turn() -> None:
    here = Slots(long=1, short=1, held=10)
    for number in range(3):
        here.admit(build(f"build {number}"))

    here.end_build()
    here.end_build()

    assert here.started == ["build 0", "build 1", "build 2"]
    assert here.load == (1, 0, 0)


def test_of_those_that_wait_the_most_urgent_starts_first() -> None:
    here = Slots(long=1, short=1, held=10)
    for job, priority in (("a", 1), ("b", 2), ("c", 1), ("d", 0)):
        here.admit(build(job, priority))

    for _each in range(3):
        here.end_build()

    assert here.started == ["a", "d", "c", "b"]


def test_no_job_is_asked_for_without_a_slot_for_either_kind() -> None:
    full = Slots(long=1, short=2, held=0)
    full.admit(build("build"))

    assert not full.slots.reserve()
    assert not full.moments

    full.end_build()
    assert full.slots.reserve()


def test_a_slot_is_reserved_once() -> None:
    one = Slots(long=5, short=1, held=5).slots
    assert one.reserve()

    assert not one.reserve()

    one.release()
    assert one.reserve()


def test_a_job_that_waits_goes_with_its_connection() -> None:
    here = Slots(long=1, short=1, held=10)
    jobs = a, b, _c = [build(name) for name in "abc"]
    here.admit(*jobs)

    here.slots.lose(b)
    here.slots.lose(a)
    assert here.slots.lost == {a}

    here.end_build()
    here.end_build()
    assert here.started == ["a", "c"]


def test_nothing_long_starts_once_they_are_paused() -> None:
    here = Slots(long=1, short=1, held=10)
    here.admit(build("a"))
    here.admit(build("b"))
    assert here.slots.busy

    here.slots.pause()
    here.end_build()

    assert here.started == ["a"]
    assert here.load == (0, 0, 1)
    assert not here.slots.busy


def test_what_would_wait_here_is_left_to_others_for_a_moment() -> None:
    here = Slots(long=1, short=5, held=100)
    here.admit(build("build 0"))

    # It asks for a moment once, however often it would like to take one.
    assert not here.slots.reserve()
    assert not here.slots.reserve()
    assert here.moments == 1

    # Of what is still there then one is taken, after another moment another.
    for moment in (1, 2, 3):
        assert here.prefetch(5) == 1
        here.slots.admit(build(f"build {moment}"))
        assert not here.slots.reserve()
        assert here.moments == moment + 1
    assert here.slots.held == 3


def test_workers_who_are_all_full_prefetch_as_many_each() -> None:
    queue = list(range(8))
    workers = [Slots(long=1, short=9, held=99) for _each in range(2)]
    for each in workers:
        each.admit(build("build"))

    while queue:
        for each in workers:
            assert not each.slots.reserve()
            for _each in range(each.prefetch(len(queue))):
                each.slots.admit(build(f"build {queue.pop()}"))

    assert [each.slots.held for each in workers] == [4, 4]


def test_a_thousand_builds_are_passed_in_twenty_moments() -> None:
    here = Slots(long=1, short=5000, held=5000)
    here.admit(build("build"))
    while here.slots.held < 1000:
        assert not here.slots.reserve()
        for _each in range(here.prefetch(1000)):
            held = here.slots.held
            here.slots.admit(build(f"build {held}"))

    assert here.moments <= 20


def test_what_was_not_taken_is_not_taken_later() -> None:
    here = Slots(long=1, short=9, held=99)
    for number in range(9):
        here.admit(build(f"build {number}"))
    assert here.prefetch(1) == 1
    here.slots.release()  # no more there at the moment

    assert not here.slots.reserve()
    # The job servers have said meanwhile that there is nothing.
    assert here.prefetch(0) == 0
    assert not here.slots.reserve()


@pytest.mark.parametrize("long", [1, 5])
def test_builds_that_the_cloud_has_no_room_for_are_left_to_others(
    long: int,
) -> None:
    here = Slots(long=long, short=5, held=100)
    here.no_capacity = True

    assert not here.slots.reserve()
    here.no_capacity = False
    assert here.slots.reserve()
