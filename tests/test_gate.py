"""How many calls a cloud gets at once, and who goes first."""

import threading
import time

import pytest

from poolmgr.cloud.limiter import Gate, _Rank
from poolmgr.errors import DeadlineExceeded, Stopped
from poolmgr.waiting import Deadline, Stop
from tests.polling import until

PATIENCE = 10.0


def waiting_at(gate: Gate) -> int:
    """How many wait for their turn."""
    return sum(map(len, gate._queues.values()))


class Callers:
    """Threads that pass a gate, one after another."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.inside: list[str] = []
        self.passed: list[str] = []
        self.most = 0
        self._lock = threading.Lock()
        self._leave = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def come(
        self, name: str, urgent: bool = False, patience: float | None = None
    ) -> None:
        """Have somebody come, and wait until he waits or is inside."""
        deadline = Deadline(PATIENCE, urgent=urgent)
        if patience is not None:
            deadline = deadline.patiently(patience)
        thread = threading.Thread(target=self._pass, args=(name, deadline))
        before = self._here()
        thread.start()
        self._threads.append(thread)
        until(lambda: self._here() > before)

    def leave(self) -> None:
        """Have one of those inside go."""
        before = len(self.passed)
        self._leave.release()
        until(lambda: len(self.passed) > before)

    def end(self) -> None:
        """Have everybody go."""
        for _thread in self._threads:
            self._leave.release()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _here(self) -> int:
        waiting = waiting_at(self.gate)
        return waiting + len(self.inside) + len(self.passed)

    def _pass(self, name: str, deadline: Deadline) -> None:
        with self.gate.passing(deadline, "calling"):
            with self._lock:
                self.inside.append(name)
                self.most = max(self.most, len(self.inside))
            self._leave.acquire()
            with self._lock:
                self.inside.remove(name)
                self.passed.append(name)


def test_no_more_than_so_many_are_under_way_at_once() -> None:
    callers = Callers(Gate(4))

    for number in range(20):
        callers.come(f"{number}", urgent=True)

    assert len(callers.inside) == 4
    callers.end()
    assert callers.most == 4
    assert len(callers.passed) == 20


def test_a_part_is_kept_for_urgent_calls() -> None:
    callers = Callers(Gate(4))
    for number in range(10):
        callers.come(f"build {number}")

    callers.come("urgent", urgent=True)

    assert "urgent" in callers.inside
    assert len(callers.inside) == 4
    callers.end()


def test_urgent_calls_go_before_those_that_came_earlier() -> None:
    callers = Callers(Gate(1))
    callers.come("first")
    callers.come("build")
    callers.come("urgent", urgent=True)

    callers.leave()
    until(lambda: callers.inside == ["urgent"])
    callers.leave()
    until(lambda: callers.inside == ["build"])
    callers.end()


def test_patient_calls_go_after_those_that_came_later() -> None:
    callers = Callers(Gate(1))
    callers.come("first")
    callers.come("mark", patience=PATIENCE)
    callers.come("another mark", patience=PATIENCE)
    callers.come("build")
    callers.come("urgent mark", urgent=True, patience=PATIENCE)

    callers.end()

    assert callers.passed == [
        "first",
        "urgent mark",
        "build",
        "mark",
        "another mark",
    ]


def test_whose_patience_ends_goes_before_builds() -> None:
    gate = Gate(1)
    callers = Callers(gate)
    callers.come("first")
    callers.come("build")
    callers.come("mark", patience=0.05)
    callers.come("urgent", urgent=True)

    until(lambda: not gate._queues[_Rank.PATIENT])

    callers.end()
    assert callers.passed == ["first", "urgent", "mark", "build"]


def test_who_comes_back_has_no_patience_that_has_ended() -> None:
    callers = Callers(Gate(1))
    callers.come("first")
    callers.come("build")
    callers.come("again", patience=0.0)

    callers.end()

    assert callers.passed == ["first", "again", "build"]


def test_a_patient_call_is_made_in_time() -> None:
    gate, deadline = Gate(4), Deadline(2.0).patiently()

    with gate.holding_back(), gate.passing(deadline, "calling"):
        assert deadline.remaining()


def test_patient_calls_are_held_back_while_the_block_runs() -> None:
    callers = Callers(Gate(4))

    with callers.gate.holding_back():
        with callers.gate.holding_back():
            callers.come("mark", patience=PATIENCE)
        callers.come("build")
        assert callers.inside == ["build"]

    until(lambda: callers.inside == ["build", "mark"])
    callers.end()


def test_patient_calls_are_held_back_no_longer_than_they_are_patient() -> None:
    gate = Gate(4)
    callers = Callers(gate)

    with gate.holding_back():
        callers.come("mark", patience=0.05)
        until(lambda: callers.inside == ["mark"])

    callers.end()


def test_nobody_waits_where_nothing_is_limited() -> None:
    callers = Callers(Gate(4))

    callers.come("build")
    callers.come("mark", patience=PATIENCE)

    assert callers.inside == ["build", "mark"]
    callers.end()


def test_no_more_than_so_many_begin_in_a_second() -> None:
    gate = Gate(100, per_second=50.0)
    started = time.monotonic()

    for _call in range(75):  # fifty at once, then one every 20 ms
        with gate.passing(Deadline(PATIENCE), "calling"):
            pass

    assert time.monotonic() - started >= 0.45


def test_urgent_calls_get_the_next_place_of_a_second() -> None:
    gate = Gate(100, per_second=10.0)
    for _call in range(10):
        with gate.passing(Deadline(PATIENCE), "calling"):
            pass
    order: list[str] = []

    def call(name: str, urgent: bool) -> None:
        with gate.passing(Deadline(PATIENCE, urgent=urgent), "calling"):
            order.append(name)

    threads = [
        threading.Thread(target=call, args=(f"build {n}", False))
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    until(lambda: waiting_at(gate) + len(order) == 3)
    call("urgent", urgent=True)
    for thread in threads:
        thread.join(PATIENCE)

    assert order.index("urgent") <= 1


def test_who_waits_too_long_is_told_and_takes_no_place() -> None:
    gate = Gate(1)
    with gate.passing(Deadline(PATIENCE), "calling"):
        with pytest.raises(DeadlineExceeded, match="calling"):
            with gate.passing(Deadline(0.05), "calling"):
                raise AssertionError
    with gate.passing(Deadline(PATIENCE), "calling"):
        pass


def test_a_wait_can_be_called_off() -> None:
    gate, stop = Gate(1), Stop()
    with gate.passing(Deadline(PATIENCE), "calling"):
        threading.Timer(0.05, stop.set).start()
        with pytest.raises(Stopped):
            with gate.passing(Deadline(PATIENCE, stop), "calling"):
                raise AssertionError


def test_a_call_that_fails_gives_its_place_back() -> None:
    gate = Gate(1)
    for _call in range(3):
        with pytest.raises(ValueError, match="a failure"):
            with gate.passing(Deadline(PATIENCE), "calling"):
                raise ValueError("a failure")
