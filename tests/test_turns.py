"""One at a time, within one's time."""

import threading

import pytest

from poolmgr.drivers.turns import Turns
from poolmgr.errors import DeadlineExceeded, Stopped
from poolmgr.waiting import Deadline, Stop


def test_one_is_inside_at_a_time_and_other_keys_are_free() -> None:
    turns = Turns()
    inside = threading.Event()
    with turns.of("a", Deadline(10.0)):
        with turns.of("b", Deadline(10.0)):
            pass

        def enter() -> None:
            with turns.of("a", Deadline(10.0)):
                inside.set()

        thread = threading.Thread(target=enter)
        thread.start()
        assert not inside.wait(0.05)
    assert inside.wait(10.0)
    thread.join()


def test_nobody_waits_longer_than_his_time() -> None:
    turns, stop = Turns(), Stop()
    stop.set()
    with turns.of("a", Deadline(10.0)):
        with pytest.raises(DeadlineExceeded, match="a turn: a"):
            with turns.of("a", Deadline(0.05)):
                raise AssertionError
        with pytest.raises(Stopped):
            with turns.of("a", Deadline(10.0, stop)):
                raise AssertionError


def test_a_failure_inside_gives_the_turn_back() -> None:
    turns = Turns()
    for _twice in range(2):
        with pytest.raises(ValueError, match="a failure"):
            with turns.of("a", Deadline(1.0)):
                raise ValueError("a failure")
