"""One question for all who ask at the same time."""

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from poolmgr.cloud import lookups as batch
from poolmgr.cloud.lookups import Batch, parted
from poolmgr.errors import CloudUnavailable, DeadlineExceeded
from poolmgr.waiting import Deadline
from tests.polling import until

Ask = Callable[[Collection[str], Deadline], Mapping[str, list[str]]]
DOING = "asking"


class Oracle:
    """Answers with the key itself, when it is told to."""

    def __init__(self) -> None:
        self.questions: list[set[str]] = []
        self.deadlines: list[Deadline] = []
        self.go = threading.Event()
        self.asked = threading.Event()

    def __call__(
        self, keys: Collection[str], deadline: Deadline
    ) -> dict[str, list[str]]:
        self.questions.append(set(keys))
        self.deadlines.append(deadline)
        self.asked.set()
        self.go.wait(10.0)
        return {key: [key] for key in keys if key != "nothing"}


def test_who_asks_alone_is_answered_at_once() -> None:
    oracle = Oracle()
    oracle.go.set()
    lookups = Batch(oracle)

    assert lookups.get("a", Deadline(10.0), DOING) == ["a"]
    assert lookups.get("nothing", Deadline(10.0), DOING) == []
    assert oracle.questions == [{"a"}, {"nothing"}]


def test_all_who_come_during_a_question_share_the_next() -> None:
    oracle = Oracle()
    lookups = Batch(oracle)
    keys = [str(number) for number in range(30)]
    with ThreadPoolExecutor(31) as pool:
        first = pool.submit(lookups.get, "first", Deadline(10.0), DOING)
        assert oracle.asked.wait(10.0)
        others = [
            pool.submit(lookups.get, key, Deadline(10.0), DOING)
            for key in keys
        ]
        deadline = Deadline(10.0)
        while len(lookups._next.keys) < len(keys):
            deadline.sleep(0.001, "waiting for all to ask")
        oracle.go.set()

        assert first.result() == ["first"]
        assert [other.result() for other in others] == [[k] for k in keys]
    assert oracle.questions == [{"first"}, set(keys)]


def test_an_error_is_everybodys() -> None:
    def ask(keys: Collection[str], deadline: Deadline) -> dict[str, list[str]]:
        raise CloudUnavailable("down")

    with pytest.raises(CloudUnavailable, match="down"):
        Batch(ask).get("a", Deadline(10.0), DOING)


def test_a_deadline_of_one_is_not_the_others() -> None:
    asked: list[set[str]] = []
    begun = threading.Event()

    def ask(keys: Collection[str], deadline: Deadline) -> dict[str, list[str]]:
        asked.append(set(keys))
        begun.set()
        if deadline.seconds < 1.0:
            deadline.sleep(10.0, "asking")
        return {key: [key] for key in keys}

    lookups = Batch(ask)
    with ThreadPoolExecutor(2) as pool:
        hasty = pool.submit(lookups.get, "hasty", Deadline(0.2), DOING)
        assert begun.wait(10.0)
        patient = pool.submit(lookups.get, "patient", Deadline(10.0), DOING)

        assert patient.result() == ["patient"]
        with pytest.raises(DeadlineExceeded):
            hasty.result()


def test_who_fails_at_the_end_of_his_time_fails_alone() -> None:
    go = threading.Event()

    def ask(keys: Collection[str], deadline: Deadline) -> dict[str, list[str]]:
        if "first" in keys:
            go.wait(10.0)
        elif deadline.seconds < 10.0:
            raise CloudUnavailable("down until its time was up")
        return {key: [key] for key in keys}

    lookups = Batch(ask)
    with ThreadPoolExecutor(12) as pool:
        pool.submit(lookups.get, "first", Deadline(20.0), DOING)
        hasty = [
            pool.submit(lookups.get, str(number), Deadline(9.0), DOING)
            for number in range(10)
        ]
        patient = pool.submit(lookups.get, "patient", Deadline(20.0), DOING)
        deadline = Deadline(10.0)
        while len(lookups._next.keys) < 11:
            deadline.sleep(0.001, "waiting for all to ask")
        go.set()

        assert patient.result() == ["patient"]
        for one in hasty:
            assert one.exception() is None or isinstance(
                one.exception(), CloudUnavailable
            )


def test_a_question_that_is_stuck_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "PATIENCE", 0.1)
    stuck, end = threading.Event(), threading.Event()

    def ask(keys: Collection[str], deadline: Deadline) -> dict[str, list[str]]:
        if "stuck" in keys:
            stuck.set()
            end.wait(10.0)
        return {key: [key] for key in keys}

    lookups = Batch(ask)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lookups.get, "stuck", Deadline(10.0), DOING)
        assert stuck.wait(10.0)

        assert lookups.get("other", Deadline(5.0), DOING) == ["other"]

        assert not first.done()
        end.set()
        assert first.result() == ["stuck"]


def test_a_defect_is_raised_by_everybody() -> None:
    def ask(keys: Collection[str], deadline: Deadline) -> dict[str, list[str]]:
        raise RuntimeError("a defect")

    lookups = Batch(ask)
    for _ask in range(2):
        with pytest.raises(RuntimeError, match="a defect"):
            lookups.get("a", Deadline(10.0), DOING)


def test_many_keys_are_asked_for_in_parts() -> None:
    keys = {f"{number:02}" for number in range(25)}

    parts = list(parted(keys, 10))

    assert [len(part) for part in parts] == [10, 10, 5]
    assert {key for part in parts for key in part} == keys


def test_a_question_is_as_urgent_as_the_most_urgent_who_waits_for_it() -> None:
    oracle = Oracle()
    lookups = Batch(oracle)
    builds = [f"build {number}" for number in range(30)]
    with ThreadPoolExecutor(32) as pool:
        pool.submit(lookups.get, "first", Deadline(10.0), DOING)
        assert oracle.asked.wait(10.0)
        # One of the builds will hardly not be the one that asks for all.
        all_ = [
            pool.submit(lookups.get, key, Deadline(10.0), DOING)
            for key in builds
        ]
        hurry = Deadline(10.0, urgent=True)
        all_.append(pool.submit(lookups.get, "short", hurry, DOING))
        until(lambda: len(lookups._next.keys) == 31)
        oracle.go.set()
        assert [future.result(10.0) for future in all_] == [
            *([key] for key in builds),
            ["short"],
        ]

    urgent = [deadline.urgent for deadline in oracle.deadlines]
    assert urgent == [False, True]


@pytest.mark.parametrize("all_", [True, False])
def test_a_question_is_patient_if_all_are_who_wait_for_it(all_: bool) -> None:
    oracle = Oracle()
    lookups = Batch(oracle)
    with ThreadPoolExecutor(3) as pool:
        pool.submit(lookups.get, "first", Deadline(10.0), DOING)
        assert oracle.asked.wait(10.0)
        for number in range(2):
            deadline = Deadline(10.0)
            if all_ or not number:
                deadline = deadline.patiently()
            pool.submit(lookups.get, f"{number}", deadline, DOING)
        until(lambda: len(lookups._next.keys) == 2)
        oracle.go.set()

    patient = [deadline.patient for deadline in oracle.deadlines]
    assert patient == [False, all_]


def test_who_gets_no_answer_in_time_is_told_why_if_that_is_known() -> None:
    oracle = Oracle()
    why = CloudUnavailable("the connection was refused")
    lookups = Batch(oracle, lambda: why)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lookups.get, "first", Deadline(10.0), DOING)
        assert oracle.asked.wait(10.0)
        with pytest.raises(CloudUnavailable, match="was refused"):
            lookups.get("second", Deadline(0.05), DOING)
        oracle.go.set()
