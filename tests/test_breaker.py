"""What fails is left in peace, and found out about."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import pytest

from poolmgr.cloud.breaker import Breaker
from poolmgr.errors import CloudUnavailable, NotFound, Stopped
from poolmgr.waiting import Deadline, Stop
from tests.polling import until

PATIENCE = 20.0


def breaker(**changes: object) -> Breaker:
    given = {
        "what": "asking",
        "failure": CloudUnavailable,
        "refusal": CloudUnavailable,
        "first": 0.05,
        "longest": 0.1,
        **changes,
    }
    return Breaker(**given)  # type: ignore[arg-type]


def fail(made: Breaker, patience: float = 0.0) -> None:
    with pytest.raises(CloudUnavailable):
        with made.turn(Deadline(PATIENCE), patience):
            raise CloudUnavailable("it is down")


def succeed(
    made: Breaker, patience: float = PATIENCE, urgent: bool = False
) -> None:
    with made.turn(Deadline(PATIENCE, urgent=urgent), patience):
        pass


@contextmanager
def waiting(*works: object) -> Iterator[list["Future[None]"]]:
    """Do these things on threads of their own."""
    with ThreadPoolExecutor(len(works)) as pool:
        yield [pool.submit(work) for work in works]  # type: ignore[arg-type]


def test_nothing_waits_while_all_is_well() -> None:
    made = breaker(threshold=3)
    for _time in range(2):
        fail(made)
    succeed(made)
    for _time in range(2):
        fail(made)

    assert not made.open
    succeed(made, patience=0.0)


def test_after_failures_in_a_row_who_does_not_wait_is_refused() -> None:
    made = breaker(threshold=3, first=60.0)
    for _time in range(3):
        fail(made)

    with pytest.raises(CloudUnavailable, match="it is down"):
        succeed(made, patience=0.0)


def test_another_error_is_no_failure() -> None:
    made = breaker()

    with pytest.raises(NotFound):
        with made.turn(Deadline(PATIENCE), 0.0):
            raise NotFound("device", "a")

    assert not made.open


def test_one_attempt_a_pause_finds_out_for_all() -> None:
    made = breaker(first=0.2, longest=0.2)
    fail(made)
    attempts: list[float] = []
    works = threading.Event()

    def attempt() -> None:
        while True:
            try:
                with made.turn(Deadline(PATIENCE), PATIENCE):
                    attempts.append(time.monotonic())
                    if not works.is_set():
                        raise CloudUnavailable("still")
                    return
            except CloudUnavailable:
                continue

    with waiting(*[attempt] * 50) as ends:
        until(lambda: len(attempts) >= 4)
        # Fifty wait, and there is one attempt in each pause.
        gaps = [b - a for a, b in pairwise(attempts)]
        assert min(gaps) >= 0.09
        works.set()
        for end in ends:
            end.result(PATIENCE)

    assert not made.open


def test_a_hint_has_the_next_attempt_made_at_once() -> None:
    made = breaker(first=3600.0, longest=3600.0)
    fail(made)
    with waiting(lambda: succeed(made)) as (end,):
        assert not end.done()
        made.hint()
        end.result(PATIENCE)

    assert not made.open


def test_where_room_is_scarce_they_go_on_in_growing_numbers() -> None:
    made = breaker(first=3600.0, longest=3600.0, scarce=True)
    fail(made)
    at_once, most = [0], []
    lock = threading.Lock()

    def attempt() -> None:
        with made.turn(Deadline(PATIENCE), PATIENCE):
            with lock:
                at_once[0] += 1
                most.append(at_once[0])
            time.sleep(0.02)
            with lock:
                at_once[0] -= 1

    with waiting(*[attempt] * 20) as ends:
        until(lambda: len(made._others) == 20)
        made.hint()
        for end in ends:
            end.result(PATIENCE)

    assert most[0] == 1
    assert most[1] <= 2
    assert not made.open


def test_what_is_urgent_goes_first_and_past_an_attempt_that_hangs() -> None:
    made = breaker(first=3600.0, longest=3600.0)
    fail(made)
    hangs, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        with made.turn(Deadline(PATIENCE), PATIENCE):
            hangs.set()
            go_on.wait(PATIENCE)

    with waiting(hang, lambda: succeed(made)) as (hanging, waits):
        until(lambda: len(made._others) == 2)
        made.hint()
        until(hangs.is_set)
        succeed(made, urgent=True)
        go_on.set()
        hanging.result(PATIENCE)
        waits.result(PATIENCE)


def test_the_time_and_the_signal_end_the_wait() -> None:
    made = breaker(first=3600.0, longest=3600.0)
    fail(made)
    stop = Stop()

    with pytest.raises(CloudUnavailable, match="it is down"):
        with made.turn(Deadline(0.05), PATIENCE):
            pass
    with pytest.raises(CloudUnavailable, match="it is down"):
        succeed(made, patience=0.05)

    def waits() -> None:
        with made.turn(Deadline(PATIENCE, stop), PATIENCE):
            pass

    with waiting(waits) as (end,):
        stop.set()
        with pytest.raises(Stopped):
            end.result(PATIENCE)


def test_who_leaves_does_not_hold_up_who_waits_behind() -> None:
    made = breaker(first=0.3, longest=0.3)
    fail(made)

    def leaves() -> None:
        with pytest.raises(CloudUnavailable):
            succeed(made, patience=0.05)

    with waiting(leaves, lambda: succeed(made)) as ends:
        for end in ends:
            end.result(PATIENCE)


def test_an_attempt_that_hangs_does_not_hold_up_the_next_for_long() -> None:
    made = breaker()
    fail(made)
    hangs, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        with made.turn(Deadline(PATIENCE), PATIENCE):
            hangs.set()
            go_on.wait(PATIENCE)

    with waiting(hang) as (hanging,):
        assert hangs.wait(PATIENCE)
        succeed(made)
        assert not hanging.done()
        go_on.set()


def test_the_cloud_says_how_long_it_is_to_be_left_alone() -> None:
    made = breaker()
    busy = CloudUnavailable("it is busy")
    busy.retry_after = 3600.0
    with pytest.raises(CloudUnavailable):
        with made.turn(Deadline(PATIENCE), 0.0):
            raise busy

    # Without its word the next attempt would be due in 50 ms.
    with pytest.raises(CloudUnavailable, match="it is busy"):
        succeed(made, patience=0.5)


def test_where_room_is_scarce_no_more_than_so_many_can_be_refused() -> None:
    made = breaker(first=3600.0, longest=3600.0, scarce=True)
    begun, refuse = threading.Semaphore(0), threading.Event()
    refused: list[str] = []

    def attempt() -> None:
        try:
            with made.turn(Deadline(PATIENCE), 0.0):
                begun.release()
                refuse.wait(PATIENCE)
                refused.append("")
                raise CloudUnavailable("there is no room")
        except CloudUnavailable:
            pass

    with waiting(*[attempt] * 100) as ends:
        for _each in range(32):
            assert begun.acquire(timeout=PATIENCE)
        until(lambda: len(made._others) == 100 - 32)
        refuse.set()
        for end in ends:
            end.result(PATIENCE)

    assert len(refused) == 32


def test_nobody_waits_any_more_who_is_to_hurry() -> None:
    made = breaker(first=3600.0, longest=3600.0)
    fail(made)
    with waiting(lambda: succeed(made)) as (end,):
        until(lambda: made._others)
        made.hurry()
        with pytest.raises(CloudUnavailable, match="it is down"):
            end.result(PATIENCE)


def test_who_waited_while_it_began_to_fail_may_not_go_on() -> None:
    made = breaker(threshold=1, first=0.01, longest=0.01)
    with made.turn(Deadline(PATIENCE), 0.0) as turn:
        assert made.allows(turn)
        fail(made)
        assert not made.allows(turn)
        with made.turn(Deadline(PATIENCE), PATIENCE) as trial:
            assert made.allows(trial)


def test_what_is_urgent_and_fails_leaves_every_other_attempt_to_the_rest() -> (
    None
):
    made = breaker()
    fail(made)
    works = threading.Event()

    def fails() -> None:
        while not works.is_set():
            fail_urgently(made)

    def fail_urgently(made: Breaker) -> None:
        with pytest.raises(CloudUnavailable):
            with made.turn(Deadline(PATIENCE, urgent=True), PATIENCE):
                raise CloudUnavailable("it is down")

    with waiting(fails, fails) as ends:
        until(lambda: made._urgent)
        succeed(made)
        works.set()
        for end in ends:
            end.result(PATIENCE)
