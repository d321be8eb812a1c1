"""Threads for the work: as many as block, and no more than that."""

import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import pytest

from poolmgr import threads
from poolmgr.threads import ThreadPool
from tests.polling import until
from tests.scarce_threads import without_threads


def alive(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


@contextmanager
def blocking(pool: ThreadPool, many: int) -> Iterator[None]:
    """So many pieces of work that all run at once, until the block ends."""
    began = threading.Semaphore(0)
    go_on = threading.Event()

    def block() -> None:
        began.release()
        go_on.wait(60)

    for _each in range(many):
        pool.run(block)
    try:
        for _each in range(many):
            assert began.acquire(timeout=30)
        yield
    finally:
        go_on.set()


@pytest.mark.parametrize("many", [1, 2, 300])
def test_work_that_blocks_keeps_no_other_waiting(many: int) -> None:
    pool = ThreadPool("test-blocking")

    # Once with threads that are made, and once with those.
    for _time in range(2):
        with blocking(pool, many):
            done = threading.Event()
            pool.run(done.set)
            assert done.wait(30)


def test_what_does_not_block_is_done_by_few() -> None:
    pool = ThreadPool("test-few")
    who: set[int] = set()
    done = threading.Semaphore(0)

    def work() -> None:
        who.add(threading.get_ident())
        done.release()

    for _piece in range(2000):
        pool.run(work)
    for _piece in range(2000):
        assert done.acquire(timeout=30)

    assert len(who) < 20


def test_one_thread_does_what_does_not_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "_SHORT", 60.0)
    monkeypatch.setattr(threads, "_PATIENCE", 60.0)
    pool = ThreadPool("test-one")
    at_once: list[int] = []
    done = threading.Semaphore(0)
    at_work = 0

    def work() -> None:
        nonlocal at_work
        at_work += 1
        at_once.append(at_work)
        time.sleep(0.0001)  # another could begin here
        at_work -= 1
        done.release()

    for pieces in (100, 1000):
        at_once.clear()
        for _piece in range(pieces):
            pool.run(work)
        for _piece in range(pieces):
            assert done.acquire(timeout=30)

    assert max(at_once) == 1


def test_what_blocks_after_all_keeps_no_other_waiting() -> None:
    pool = ThreadPool("test-after-all")
    done = threading.Semaphore(0)
    for _piece in range(100):
        pool.run(done.release)
    for _piece in range(100):
        assert done.acquire(timeout=30)

    for many in (1, 2, 50):
        with blocking(pool, many):
            pool.run(done.release)
            assert done.acquire(timeout=30)


@pytest.mark.parametrize("patience", [0.005, 0.0002])
def test_nothing_is_lost_or_done_twice_however_it_is_handed_in(
    patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_PATIENCE", patience)
    pool = ThreadPool("test-race", idle=0.001)  # they go all the time
    done: list[int] = []
    rest = threading.Semaphore(0)

    def work(number: int) -> None:
        if number % 7 == 0:
            time.sleep(0.001)
        done.append(number)
        rest.release()

    def hand_in(first: int) -> None:
        for number in range(first, first + 500):
            pool.run(lambda number=number: work(number))  # type: ignore[misc]
            if number % 11 == 0:
                time.sleep(0.001)

    givers = [
        threading.Thread(target=hand_in, args=(each * 500,))
        for each in range(4)
    ]
    for giver in givers:
        giver.start()
    for giver in givers:
        giver.join()
    for _piece in range(2000):
        assert rest.acquire(timeout=30)

    assert sorted(done) == list(range(2000))


def test_a_call_is_never_waited_for_by_two() -> None:
    # Threads are changed as often as can be, and give up waiting all the
    # time: two that wait for one call would wait for ever, and all with them.
    pool = ThreadPool("test-two", idle=0.0002)
    rest = threading.Semaphore(0)
    before = sys.getswitchinterval()
    pauses = random.Random(1)

    def hand_in() -> None:
        for number in range(10_000):
            pool.run(rest.release)
            if number % 3 == 0:
                time.sleep(pauses.random() * 0.0004)

    sys.setswitchinterval(1e-7)
    try:
        for _each in range(4):
            threading.Thread(target=hand_in, daemon=True).start()
        for _piece in range(40_000):
            assert rest.acquire(timeout=30)
    finally:
        sys.setswitchinterval(before)


def test_threads_go_when_there_is_nothing_to_do() -> None:
    pool = ThreadPool("test-idle", idle=0.05)

    with blocking(pool, 10):
        assert alive("test-idle") >= 10

    until(lambda: alive("test-idle") == 0)


def test_where_there_are_no_more_threads_the_work_is_done_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = ThreadPool("test-none-left")
    done = threading.Event()

    with blocking(pool, 1), without_threads():
        pool.run(done.set)
        assert "can't start new thread; 1 wait" in caplog.text
        assert not done.is_set()

    assert done.wait(30)


def test_what_is_waited_for_is_done_even_without_any_thread() -> None:
    pool = ThreadPool("test-none-at-all")
    found: list[int] = []
    asking = threading.Thread(
        target=lambda: found.append(pool.wait_for(lambda: 42, 30)), daemon=True
    )
    with without_threads("test-none-at-all"):
        asking.start()
        asking.join(30)
    assert found == [42]


def test_it_is_waited_for_in_the_context_of_who_waits() -> None:
    pool = ThreadPool("test-wait")
    trail: ContextVar[str] = ContextVar("trail")
    trail.set("ours")

    name, seen = pool.wait_for(
        lambda: (threading.current_thread().name, trail.get()), 30
    )

    assert (name, seen) == ("test-wait", "ours")


def test_what_is_raised_is_raised_where_it_is_waited_for() -> None:
    pool = ThreadPool("test-raise")

    def fail() -> None:
        raise LookupError("of no use")

    with pytest.raises(LookupError, match="of no use"):
        pool.wait_for(fail, 30)

    assert pool.wait_for(lambda: 42, 30) == 42


def test_what_takes_too_long_is_given_up_and_keeps_nobody() -> None:
    pool = ThreadPool("test-late")
    go_on = threading.Event()
    try:
        with pytest.raises(TimeoutError):
            pool.wait_for(lambda: go_on.wait(60), 0.05)

        assert pool.wait_for(lambda: 42, 30) == 42
    finally:
        go_on.set()
