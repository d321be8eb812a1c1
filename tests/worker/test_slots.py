"""Tests of the slots: which jobs start, wait or stay at the job server."""

from typing import Any
from unittest.mock import Mock

import pytest

from poolmgr.settings import WorkerSettings
from poolmgr.worker.assigned_job import AssignedJob
from poolmgr.worker.slots import JobSlots


def assigned(name: str, priority: int = 0, long: bool = True) -> Mock:
    """Return an assigned job."""
    job = Mock(AssignedJob, long=long, priority=priority, size=0)
    job.name = name
    return job


class Slots:
    """Slots whose jobs only get started.

    :ivar running: the started jobs
    :ivar peer_delays: how often the slots waited for other workers
    :ivar no_capacity: whether the cloud has no room for builds
    """

    def __init__(self, long: int, short: int, held: int) -> None:
        self.running: list[Any] = []
        self.peer_delays = 0
        self.no_capacity = False
        self.slots = JobSlots(
            WorkerSettings(long_jobs=long, short_jobs=short, held_jobs=held),
            self.running.append,
            self._wait_for_peers,
            lambda: self.no_capacity,
        )

    @property
    def started(self) -> list[str]:
        """Return the names of the started jobs."""
        return [job.name for job in self.running]

    @property
    def load(self) -> tuple[int, int, int]:
        """Return the numbers of long, short and prefetched jobs."""
        return self.slots.long, self.slots.short, self.slots.held

    def _wait_for_peers(self) -> None:
        self.peer_delays += 1

    def admit(self, *jobs: AssignedJob) -> None:
        """Admit each job, prefetched if there is no free slot."""
        for job in jobs:
            if not self.slots.reserve():
                assert self.prefetch(1) == 1
            self.slots.admit(job)

    def end_build(self) -> None:
        """End a running build."""
        self.slots.done(assigned("any"))

    def prefetch(self, queued: int) -> int:
        """End a peer delay and return the number of prefetched jobs.

        :param queued: number of jobs at the job servers
        """
        grabbed = 0

        def grab() -> None:
            nonlocal grabbed
            while grabbed < queued and self.slots.reserve():
                grabbed += 1

        self.slots.prefetch(grab)
        return grabbed


def test_a_short_job_starts_while_builds_wait() -> None:
    worker = Slots(long=1, short=1, held=100)
    for number in range(50):
        worker.admit(assigned(f"build {number}"))

    worker.admit(assigned("assign", long=False))

    assert worker.started == ["build 0", "assign"]
    assert worker.load == (1, 1, 49)


@pytest.mark.parametrize(
    ("priorities", "order"),
    [
        ({"a": 1, "b": 1, "c": 1, "d": 1}, "abcd"),
        ({"a": 1, "b": 2, "c": 1, "d": 0}, "adcb"),
    ],
)
def test_waiting_builds_start_by_priority_and_then_in_order(
    priorities: dict[str, int], order: str
) -> None:
    worker = Slots(long=1, short=1, held=10)
    for name, priority in priorities.items():
        worker.admit(assigned(name, priority))

    for _each in range(3):
        worker.end_build()

    assert worker.started == [*order]
    assert worker.load == (1, 0, 0)


def test_no_job_is_grabbed_without_a_slot_for_either_kind() -> None:
    worker = Slots(long=1, short=2, held=0)
    worker.admit(assigned("build"))

    assert not worker.slots.reserve()
    assert not worker.peer_delays

    worker.end_build()
    assert worker.slots.reserve()


def test_a_slot_can_be_reserved_only_once() -> None:
    slots = Slots(long=5, short=1, held=5).slots
    assert slots.reserve()

    assert not slots.reserve()

    slots.release()
    assert slots.reserve()


def test_a_waiting_job_is_dropped_when_its_connection_is_lost() -> None:
    worker = Slots(long=1, short=1, held=10)
    running, lost, kept = map(assigned, ("running", "lost", "kept"))
    worker.admit(running, lost, kept)

    worker.slots.lose(lost)
    worker.slots.lose(running)
    assert worker.slots.lost == {running}

    worker.end_build()
    worker.end_build()
    assert worker.started == ["running", "kept"]


def test_no_waiting_build_starts_while_the_slots_are_paused() -> None:
    worker = Slots(long=1, short=1, held=10)
    worker.admit(assigned("a"))
    worker.admit(assigned("b"))
    assert worker.slots.busy

    worker.slots.pause()
    worker.end_build()

    assert worker.started == ["a"]
    assert worker.load == (0, 0, 1)
    assert not worker.slots.busy


def test_builds_are_prefetched_one_by_one_after_peer_delays() -> None:
    worker = Slots(long=1, short=5, held=100)
    worker.admit(assigned("build 0"))

    # Repeated attempts cause only one peer delay.
    assert not worker.slots.reserve()
    assert not worker.slots.reserve()
    assert worker.peer_delays == 1

    # After each delay, one of the remaining builds is prefetched.
    for number in (1, 2, 3):
        assert worker.prefetch(5) == 1
        worker.slots.admit(assigned(f"build {number}"))
        assert not worker.slots.reserve()
        assert worker.peer_delays == number + 1
    assert worker.slots.held == 3


def test_full_workers_prefetch_the_same_number_of_builds() -> None:
    queue = list(range(8))
    workers = [Slots(long=1, short=9, held=99) for _each in range(2)]
    for each in workers:
        each.admit(assigned("build"))

    while queue:
        for each in workers:
            assert not each.slots.reserve()
            for _each in range(each.prefetch(len(queue))):
                each.slots.admit(assigned(f"build {queue.pop()}"))

    assert [each.slots.held for each in workers] == [4, 4]


def test_a_thousand_builds_are_prefetched_in_twenty_peer_delays() -> None:
    worker = Slots(long=1, short=5000, held=5000)
    worker.admit(assigned("build"))
    while worker.slots.held < 1000:
        assert not worker.slots.reserve()
        for _each in range(worker.prefetch(1000)):
            held = worker.slots.held
            worker.slots.admit(assigned(f"build {held}"))

    assert worker.peer_delays <= 20


def test_an_unused_permission_to_prefetch_expires() -> None:
    worker = Slots(long=1, short=9, held=99)
    for number in range(9):
        worker.admit(assigned(f"build {number}"))
    assert worker.prefetch(1) == 1
    worker.slots.release()  # The job servers' queues were empty.

    assert not worker.slots.reserve()
    assert worker.prefetch(0) == 0
    assert not worker.slots.reserve()


@pytest.mark.parametrize("long", [1, 5])
def test_no_build_is_grabbed_while_the_cloud_has_no_room(
    long: int,
) -> None:
    worker = Slots(long=long, short=5, held=100)
    worker.no_capacity = True

    assert not worker.slots.reserve()
    worker.no_capacity = False
    assert worker.slots.reserve()


def test_short_jobs_behind_each_other_are_not_left_to_other_workers() -> None:
    worker = Slots(long=1, short=5, held=100)
    worker.admit(assigned("build"))
    worker.admit(assigned("first", long=False))

    for number in range(3):
        assert worker.slots.reserve()
        worker.slots.admit(assigned(f"short {number}", long=False))

    assert worker.peer_delays == 1
    assert worker.slots.reserve()
    worker.slots.release()  # The job servers' queues were empty.
    assert not worker.slots.reserve()
