"""Builds never keep short jobs waiting."""

import pytest

from poolmgr.worker.slots import Lanes, Load


@pytest.fixture
def started() -> list[str]:
    return []


def lanes(started: list[str], long: int, short: int, held: int) -> Lanes[str]:
    return Lanes(long, short, held, started.append)


def full_and_courteous(started: list[str]) -> tuple[Lanes[str], list[str]]:
    """Lanes whose one long job runs, and their requests for a moment."""
    asked: list[str] = []
    polite: Lanes[str] = Lanes(
        1, 5, 100, started.append, lambda: asked.append("")
    )
    admit(polite, "build 0", long=True)
    return polite, asked


def admit(lanes: Lanes[str], job: str, long: bool) -> None:
    assert lanes.reserve()
    lanes.admit(job, long)


def test_a_short_job_starts_however_many_builds_wait(
    started: list[str],
) -> None:
    two = lanes(started, long=1, short=1, held=100)
    for number in range(50):
        admit(two, f"build {number}", long=True)

    admit(two, "assign", long=False)

    assert started == ["build 0", "assign"]
    assert two.load == Load(long=1, short=1, held=49)
    assert two.load.total == 51


def test_builds_that_wait_start_in_turn(started: list[str]) -> None:
    one = lanes(started, long=1, short=1, held=10)
    for number in range(3):
        admit(one, f"build {number}", long=True)

    one.done(long=True)
    one.done(long=True)

    assert started == ["build 0", "build 1", "build 2"]
    assert one.load == Load(long=1, short=0, held=0)


def test_no_job_is_asked_for_without_room_for_either_kind(
    started: list[str],
) -> None:
    full = lanes(started, long=1, short=2, held=0)
    admit(full, "build", long=True)

    assert not full.reserve()

    full.done(long=True)
    assert full.reserve()


def test_room_is_reserved_once(started: list[str]) -> None:
    one = lanes(started, long=5, short=1, held=5)
    assert one.reserve()

    assert not one.reserve()

    one.release()
    assert one.reserve()


def test_a_job_that_waits_can_be_dropped(started: list[str]) -> None:
    one = lanes(started, long=1, short=1, held=10)
    for job in ("a", "b", "c"):
        admit(one, job, long=True)

    assert one.drop("b")
    assert not one.drop("a")

    one.done(long=True)
    one.done(long=True)
    assert started == ["a", "c"]


def test_nothing_long_starts_while_draining(started: list[str]) -> None:
    one = lanes(started, long=1, short=1, held=10)
    admit(one, "a", long=True)
    admit(one, "b", long=True)

    one.hold()
    one.done(long=True)

    assert started == ["a"]
    assert one.load == Load(long=0, short=0, held=1)


def test_what_would_wait_here_is_left_to_others_for_a_moment(
    started: list[str],
) -> None:
    polite, asked = full_and_courteous(started)

    # It asks for a moment once, however often it would like to take one.
    assert not polite.reserve()
    assert not polite.reserve()
    assert len(asked) == 1

    # Of what is still there then one is taken, after another moment another.
    for moment in (1, 2, 3, 4):
        with polite.insisting():
            assert polite.reserve()
        polite.admit(f"build {moment}", long=True)
        assert not polite.reserve()
        assert len(asked) == moment + 1
    # Then two.
    with polite.insisting():
        assert polite.reserve()
        assert polite.reserve()
        assert not polite.reserve()
    polite.admit("build 5", long=True)
    polite.admit("assign", long=False)
    assert started == ["build 0", "assign"]


def test_workers_who_are_all_full_hold_as_many_each() -> None:
    queue = list(range(8))
    workers: list[Lanes[str]] = [
        Lanes(1, 9, 99, lambda job: None, lambda: None) for _each in range(2)
    ]
    for worker in workers:
        admit(worker, "build", long=True)

    while queue:
        for number, worker in enumerate(workers):
            assert not worker.reserve()
            with worker.insisting():
                while queue and worker.reserve():
                    worker.admit(f"{number}: {queue.pop()}", long=True)

    assert [worker.load.held for worker in workers] == [4, 4]


def test_a_thousand_builds_are_passed_in_thirteen_moments(
    started: list[str],
) -> None:
    asked: list[str] = []
    polite: Lanes[str] = Lanes(
        1, 5000, 5000, started.append, lambda: asked.append("")
    )
    admit(polite, "build", long=True)
    taken = 0
    while taken < 1000:
        assert not polite.reserve()
        on_their_way = 0
        with polite.insisting():
            while polite.reserve():
                on_their_way += 1
        for _each in range(on_their_way):
            taken += 1
            polite.admit(f"build {taken}", long=True)

    assert len(asked) == 14  # the last is for those that may still come


def test_when_there_are_no_more_it_begins_with_one_again(
    started: list[str],
) -> None:
    polite: Lanes[str] = Lanes(1, 9, 9, started.append, lambda: None)
    admit(polite, "build 0", long=True)
    for _moment in range(5):
        assert not polite.reserve()
        with polite.insisting():
            assert polite.reserve()
    for _moment in range(5):
        polite.release()

    assert not polite.reserve()
    with polite.insisting():
        assert polite.reserve()
        assert not polite.reserve()


def test_builds_that_the_cloud_has_no_room_for_are_left_to_others(
    started: list[str],
) -> None:
    scarce = [True]
    polite: Lanes[str] = Lanes(
        5, 5, 100, started.append, lambda: None, lambda: scarce[0]
    )

    assert not polite.reserve()
    scarce[0] = False
    assert polite.reserve()


def test_who_has_nothing_to_ask_for_is_courteous_the_next_time(
    started: list[str],
) -> None:
    polite, asked = full_and_courteous(started)
    assert not polite.reserve()
    with polite.insisting():
        pass  # the job servers have said meanwhile that there is nothing

    assert not polite.reserve()
    assert len(asked) == 2
