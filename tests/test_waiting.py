"""Waits end when they should."""

import functools
import queue
import threading
import time
from collections.abc import Callable
from itertools import islice

import pytest

from poolmgr.errors import DeadlineExceeded, Stopped
from poolmgr.threads import ThreadPool
from poolmgr.waiting import Deadline, Expiries, Stop, Wake, backoff
from tests.scarce_threads import without_threads


def test_who_waits_is_woken_from_another_thread() -> None:
    wake = Wake()
    threading.Timer(0.05, wake.set).start()

    assert wake.wait(60.0)


def test_who_waits_later_is_woken_once_however_often_it_was_set() -> None:
    wake = Wake()
    wake.set()
    wake.set()

    assert wake.wait(60.0)
    assert not wake.wait(0.01)


def test_a_deadline_ends_a_sleep() -> None:
    with pytest.raises(DeadlineExceeded, match=r"resting.*0\.05 s"):
        Deadline(0.05).sleep(60.0, "resting")


def test_a_stop_ends_a_sleep() -> None:
    stop = Stop()
    threading.Timer(0.05, stop.set).start()

    with pytest.raises(Stopped, match="resting"):
        Deadline(60.0, stop).sleep(60.0, "resting")


def test_a_patient_deadline_is_the_same_otherwise() -> None:
    stop = Stop()
    deadline = Deadline(60.0, stop)

    patient = deadline.patiently()

    assert (deadline.patient, patient.patient) == (False, True)
    assert patient.remaining() == pytest.approx(deadline.remaining(), abs=1.0)
    stop.set()
    with pytest.raises(Stopped):
        patient.check("waiting")


def test_patience_leaves_half_of_the_time() -> None:
    for seconds, patience in ((3600.0, 30.0), (20.0, 10.0)):
        deadline = Deadline(seconds).patiently()
        left = deadline.yields_until - time.monotonic()
        assert patience - 1.0 < left <= patience


def test_a_clock_that_jumps_changes_no_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deadline = Deadline(60.0)
    monkeypatch.setattr(time, "time", lambda: 0.0)

    assert 59.0 < deadline.remaining() <= 60.0


def test_a_callback_is_called_even_if_the_stop_came_first() -> None:
    stop, called = Stop(), threading.Event()
    stop.set()

    with stop.wakes(called.set):
        assert called.is_set()


def test_attempts_end_with_the_deadline() -> None:
    attempts = []

    with pytest.raises(DeadlineExceeded):
        for attempt in Deadline(0.1).retries("trying", first=0.01):
            attempts.append(attempt)

    assert attempts == list(range(len(attempts)))
    assert len(attempts) > 1


def test_pauses_double_up_to_the_longest_with_jitter() -> None:
    pauses = list(islice(backoff(1.0, 8.0), 6))

    for pause, whole in zip(pauses, [1, 2, 4, 8, 8, 8], strict=True):
        assert whole / 2 <= pause <= whole


@pytest.fixture
def expired() -> list[str]:
    return []


def test_expiries_come_in_their_order(expired: list[str]) -> None:
    done = threading.Event()
    expiries = Expiries("test")

    def note(name: str) -> Callable[[], None]:
        return lambda: expired.append(name)

    expiries.add("c", 0.3, done.set)
    expiries.add("b", 0.2, note("b"))
    expiries.add("a", 0.1, note("a"))
    expiries.add("cancelled", 0.1, note("cancelled"))
    expiries.cancel("cancelled", 0.1)

    assert done.wait(10.0)
    assert expired == ["a", "b"]


def test_expiries_start_again_after_they_were_empty() -> None:
    expiries = Expiries("test")
    for _round in range(3):
        done = threading.Event()
        expiries.add("key", 0.01, done.set)
        assert done.wait(10.0)


def test_expiries_without_a_thread_come_when_there_is_one_again() -> None:
    expiries, late, done = (
        Expiries("test"),
        threading.Event(),
        threading.Event(),
    )

    with without_threads():
        expiries.add("late", 0.01, late.set)
    assert not late.is_set()

    expiries.add("in time", 0.01, done.set)
    assert done.wait(10.0)
    assert late.wait(10.0)


def test_work_that_never_returns_keeps_no_other_waiting() -> None:
    pool, never = ThreadPool("test"), threading.Event()
    done: queue.SimpleQueue[int] = queue.SimpleQueue()

    def stuck() -> None:
        never.wait(30.0)

    for _each in range(5):
        pool.run(stuck)
    for number in range(100):
        pool.run(functools.partial(done.put, number))

    assert sorted(done.get(timeout=10.0) for _n in range(100)) == list(
        range(100)
    )
    never.set()


def test_idle_threads_go() -> None:
    pool = ThreadPool("test-idle", idle=0.05)
    pool.run(lambda: None)
    end = time.monotonic() + 10.0

    while any(t.name == "test-idle" for t in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)

    again = threading.Event()
    pool.run(again.set)
    assert again.wait(10.0)
