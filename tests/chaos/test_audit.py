"""The audit finds every kind of fault."""

from dataclasses import replace

import pytest

from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.ownership import Job, Mark
from tests.chaos.audit import Scene, serious
from tests.chaos.ledger import Entry, Ledger

ADDR = "10.20.0.5"
IP = "198.18.0.7"


def built(ledger: Ledger, name: str = "pool-1") -> Entry:
    """Return an answered device."""
    entry = ledger.open("BUILD_DEVICE")
    answer = {"action": "BUILD_DEVICE", "response": "PASS", "name": name}
    ledger.answered(entry, {**answer, "addr": ADDR, "type": "t", "az": "1"})
    ledger.hold("device", entry)
    return entry


def allocated(ledger: Ledger) -> Entry:
    """Return an answered address."""
    entry = ledger.open("BUILD_IP")
    answer = {"action": "BUILD_IP", "response": "PASS"}
    ledger.answered(entry, {**answer, "id": "ip-id", "ip": IP})
    ledger.hold("address", entry)
    return entry


def mark(entry: Entry) -> Mark:
    return Mark.for_job("pool", Job(entry.unique, "H:a:1")).handed_over()


def device(entry: Entry, name: str = "pool-1") -> Device:
    created = "2026-01-01T00:00:00+00:00"
    return Device(
        f"id-{name}", name, "active", ADDR, created, mark=mark(entry)
    )


def ip(entry: Entry, on: str | None = None) -> FloatingIP:
    return FloatingIP("ip-id", IP, on, 1, mark(entry))


def faults(scene: Scene, ledger: Ledger) -> list[str]:
    return [finding.fault for finding in scene.audit(ledger)]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def test_a_consistent_cloud_has_no_findings(ledger: Ledger) -> None:
    one, two = built(ledger), allocated(ledger)

    assert faults(Scene([device(one)], [ip(two)]), ledger) == []


def test_missing_or_changed_resources_are_found(
    ledger: Ledger,
) -> None:
    entry = built(ledger)
    correct = device(entry)
    left = replace(mark(entry), state="building")

    assert faults(Scene([], []), ledger) == ["missing"]
    for other in (
        replace(correct, status="failed"),
        replace(correct, address="10.20.0.6"),
        replace(correct, mark=left),
        replace(correct, mark=replace(left, unique="another")),
    ):
        assert faults(Scene([other], []), ledger) == ["missing"]


def test_a_second_resource_for_a_job_is_a_duplicate(ledger: Ledger) -> None:
    entry = built(ledger)
    spare = device(entry, "pool-2")
    found = Scene([device(entry), spare], []).audit(ledger)

    assert [(f.fault, f.name) for f in found] == [("duplicate", "pool-2")]
    # Its mark says "handed over", so the reaper would not find it.
    assert serious(found, reaped=False)
    assert spare.mark is not None
    spare = replace(spare, mark=replace(spare.mark, state="building"))
    found = Scene([device(entry), spare], []).audit(ledger)
    assert not serious(found, reaped=False)
    assert serious(found, reaped=True)


def test_two_devices_with_one_name_are_duplicates(ledger: Ledger) -> None:
    entry = built(ledger)
    twin = replace(device(entry), id="other-id")

    assert faults(Scene([device(entry), twin], []), ledger) == ["duplicate"]


def test_resources_of_a_failed_job_are_unowned(ledger: Ledger) -> None:
    entry = ledger.open("BUILD_DEVICE")
    ledger.answered(entry, {"action": "BUILD_DEVICE", "response": "FAIL"})
    found = Scene([device(entry)], []).audit(ledger)

    assert [finding.fault for finding in found] == ["unowned"]
    assert serious(found, reaped=False)


def test_resources_of_a_lost_job_are_in_doubt(
    ledger: Ledger,
) -> None:
    entry = ledger.open("BUILD_DEVICE")
    ledger.lost(entry, "the job server is gone")
    found = Scene([device(entry)], []).audit(ledger)

    assert [finding.fault for finding in found] == ["in doubt"]
    left = replace(device(entry), mark=replace(mark(entry), state="building"))
    assert faults(Scene([left], []), ledger) == ["unowned"]


def test_deleted_resources_that_still_exist_are_found(ledger: Ledger) -> None:
    entry = built(ledger)
    holding = ledger.held("device", "pool-1")
    assert holding is not None
    holding.state = "gone"

    assert faults(Scene([], []), ledger) == []
    assert faults(Scene([device(entry)], []), ledger) == ["not deleted"]


def test_an_address_on_another_device_is_misplaced(ledger: Ledger) -> None:
    one, two = built(ledger), allocated(ledger)
    holding = ledger.held("address", IP)
    assert holding is not None
    holding.where = {"pool-1"}

    assert faults(Scene([device(one)], [ip(two, "id-pool-1")]), ledger) == []
    assert faults(Scene([device(one)], [ip(two)]), ledger) == ["misplaced"]


def test_one_resource_in_two_answers_is_a_problem(
    ledger: Ledger,
) -> None:
    first = built(ledger)
    assert not ledger.problems

    second = built(ledger)

    ((entry, what),) = ledger.problems
    assert entry is second
    assert str(first) in what


@pytest.mark.parametrize(
    "answer",
    [
        b"not json",
        [],
        {"action": "BUILD_IP"},
        {"response": "PASS", "id": "i", "ip": IP},
        {"action": "BUILD_IP", "response": "PASS", "id": "i"},
    ],
)
def test_an_invalid_answer_is_a_problem(
    ledger: Ledger, answer: object
) -> None:
    entry = ledger.open("BUILD_IP")
    ledger.answered(entry, answer)

    assert ledger.problems
    assert not entry.passed
