"""A worker is killed during each call of a job; another finishes the job.

Each changing call is tried three times: it never takes effect; it took effect
but was not answered; it takes effect after the worker has died.
"""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poolmgr.drivers.nova.marks import description_of
from poolmgr.ownership import Job, Mark
from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.chaos.stage import POOL, TIMEOUT, Moment, Stage, passed, settled
from tests.chaos.stage import stage as open_stage
from tests.nova.pools import DETAILS, IPS, ONE_IP, ONE_SERVER, SERVERS
from tests.polling import until
from tests.relays import WORK_COMPLETE, relay

METADATA = "/servers/[^/]+/metadata"
PORTS = "/ports"


def changing(method: str, path: str, skip: int = 0) -> list[Moment]:
    """Return the three moments of a changing call."""
    return [
        Moment(method, path, "never", skip),
        Moment(method, path, "before", skip),
        Moment(method, path, "late", skip, late=0.5),
        Moment(method, path, "late", skip, late=4.0),
    ]


BUILD_DEVICE = [
    # The search for the device of an earlier delivery.
    Moment("GET", DETAILS),
    *changing("POST", SERVERS),
    # Polls of the booting device.
    Moment("GET", DETAILS, skip=1),
    Moment("GET", DETAILS, skip=2),
    # The handed-over mark.
    *changing("POST", METADATA),
]
BUILD_IP = [
    Moment("GET", IPS),
    *changing("POST", IPS),
    # The handed-over mark.
    *changing("PUT", ONE_IP),
]
DELETE_IP = [
    Moment("GET", IPS),
    *changing("DELETE", ONE_IP),
]
ASSIGN_IP = [
    Moment("GET", DETAILS),
    Moment("GET", IPS),
    Moment("GET", PORTS),
    *changing("PUT", ONE_IP),
    # The check whether the change took effect.
    Moment("GET", IPS, skip=1),
]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Yield a stage whose cloud boots devices at once."""
    with open_stage(tmp_path) as stage:
        yield stage


def require_one_device(stage: Stage, answer: dict[str, Any]) -> None:
    """Check that only the answered resource is left after the reaper."""
    stage.check()
    (device,) = stage.cloud.servers
    assert device["name"] == answer["name"]


def require_one_address(stage: Stage, answer: dict[str, Any]) -> None:
    """Check that only the answered resource is left after the reaper."""
    stage.check()
    (ip,) = stage.cloud.floating_ips
    assert ip["id"] == answer["id"]


@pytest.mark.parametrize("moment", BUILD_DEVICE, ids=str)
def test_a_build_killed_during_any_call_leaves_one_device(
    stage: Stage, moment: Moment
) -> None:
    answer, hold = stage.killed_at([moment], "BUILD_DEVICE")
    settled(hold)

    require_one_device(stage, answer)


@pytest.mark.parametrize(
    ("action", "moment", "lists"),
    [
        ("BUILD_DEVICE", Moment("POST", METADATA), DETAILS),
        ("BUILD_IP", Moment("PUT", ONE_IP), IPS),
    ],
    ids=["BUILD_DEVICE", "BUILD_IP"],
)
def test_a_handed_over_device_that_lists_show_late_is_found_before_the_answer(
    stage: Stage, action: str, moment: Moment, lists: str
) -> None:
    kind = "servers" if lists == DETAILS else "floatingips"
    late = Fault(
        method="GET",
        path=lists,
        where=lambda _call: bool(
            stage.cloud.count(moment.method, path=moment.path)
        ),
        status=200,
        body={kind: []},
    )
    stage.cloud.fault(late)

    answer, _hold = stage.killed_at([moment], action)

    # The reaper would not delete a second resource that was handed over.
    resources = stage.cloud.servers + stage.cloud.floating_ips
    assert stage.cloud.count("POST", path=f"{SERVERS}|{IPS}") == 2
    (resource,) = resources
    assert answer.get("id", resource["id"]) == resource["id"]
    stage.check()


@pytest.mark.parametrize("moment", BUILD_IP, ids=str)
def test_an_allocation_killed_during_any_call_leaves_one_address(
    stage: Stage, moment: Moment
) -> None:
    answer, hold = stage.killed_at([moment], "BUILD_IP")
    settled(hold)

    require_one_address(stage, answer)


@pytest.mark.parametrize("moment", ASSIGN_IP, ids=str)
def test_an_assignment_killed_during_any_call_takes_effect(
    stage: Stage, moment: Moment
) -> None:
    first = stage.start()
    device, ip = stage.passes("BUILD_DEVICE"), stage.passes("BUILD_IP")
    first.end()
    fields = {"ip": ip["ip"], "name": device["name"]}

    _answer, hold = stage.killed_at([moment], "ASSIGN_IP", **fields)
    settled(hold)

    stage.check()


@pytest.mark.parametrize("moment", DELETE_IP, ids=str)
def test_a_deletion_killed_during_any_call_leaves_no_address(
    stage: Stage, moment: Moment
) -> None:
    worker, other = stage.several(2)
    ip = stage.passes("BUILD_IP")["ip"]
    hold = stage.hold(moment)
    answer = stage.submit("DELETE_IP", ip=ip)
    until(lambda: hold.calls, TIMEOUT)
    worker.signal(signal.SIGKILL)
    other.signal(signal.SIGCONT)

    # The second delivery does not find what the first has deleted.
    assert answer.result(TIMEOUT).reason in ("", "not_found")
    settled(hold)
    assert stage.cloud.floating_ips == []


def allocate_elsewhere(cloud: LoopbackCloud, description: str) -> str:
    """Allocate a floating IP without a worker and return its id."""
    fields = {
        "floating_network_id": cloud.ids["public"],
        "description": description,
    }
    body = {"floatingip": fields}
    created = cloud.connect().network.post("/floatingips", json=body).json()
    return str(created["floatingip"]["id"])


@pytest.mark.parametrize("pool", [POOL, "another", ""])
def test_an_address_reallocated_to_another_owner_is_not_deleted(
    tmp_path: Path, pool: str
) -> None:
    mark = Mark.for_job(pool, Job("another", "H:host:99")).handed_over()
    description = description_of(mark) if pool else ""
    # The cloud has one address and gives it to the next caller.
    with open_stage(tmp_path, floating_range="198.18.0.0/30") as stage:
        first = stage.start()
        address = stage.passes("BUILD_IP")["ip"]
        first.end()
        worker, other = stage.several(2)
        hold = stage.hold(Moment("DELETE", ONE_IP))
        answer = stage.submit("DELETE_IP", ip=address)
        until(lambda: hold.calls and not stage.cloud.floating_ips, TIMEOUT)
        worker.signal(signal.SIGKILL)
        new_id = allocate_elsewhere(stage.cloud, description)

        other.signal(signal.SIGCONT)

        assert answer.result(TIMEOUT).outcome == "FAIL"
        (ip,) = stage.cloud.floating_ips
        assert (ip["id"], ip["floating_ip_address"]) == (new_id, address)


def test_a_late_attachment_does_not_undo_a_newer_one(
    stage: Stage,
) -> None:
    first = stage.start()
    one, other = stage.passes("BUILD_DEVICE"), stage.passes("BUILD_DEVICE")
    ip = stage.passes("BUILD_IP")["ip"]
    first.end()
    moment = Moment("PUT", ONE_IP, "late", late=15.0)

    _answer, hold = stage.killed_at(
        [moment], "ASSIGN_IP", ip=ip, name=one["name"]
    )
    stage.passes("ASSIGN_IP", ip=ip, name=other["name"])
    assert not hold.over
    settled(hold)

    stage.check()


@pytest.mark.parametrize("moment", changing("POST", METADATA), ids=str)
def test_the_second_worker_is_killed_while_taking_over_a_device(
    stage: Stage, moment: Moment
) -> None:
    handed_over = Moment("POST", METADATA)

    answer, hold = stage.killed_at([handed_over, moment], "BUILD_DEVICE")
    settled(hold)

    require_one_device(stage, answer)


@pytest.mark.parametrize("moment", changing("PUT", ONE_IP), ids=str)
def test_the_second_worker_is_killed_while_taking_over_an_address(
    stage: Stage, moment: Moment
) -> None:
    handed_over = Moment("PUT", ONE_IP)

    answer, hold = stage.killed_at([handed_over, moment], "BUILD_IP")
    settled(hold)

    require_one_address(stage, answer)


@pytest.mark.parametrize("moment", changing("PUT", ONE_IP), ids=str)
def test_a_late_allocation_and_a_kill_at_the_hand_over_leave_one_address(
    tmp_path: Path, moment: Moment
) -> None:
    creation = Moment("POST", IPS, "late", late=0.3)
    with open_stage(tmp_path, latency=0.3) as stage:
        answer, hold = stage.killed_at([creation, moment], "BUILD_IP")
        settled(hold)

        require_one_address(stage, answer)


def test_a_late_creation_leaves_one_device(
    tmp_path: Path,
) -> None:
    moment = Moment("POST", SERVERS, "late", late=1.5)
    with open_stage(tmp_path, boot_time=4.0) as stage:
        answer, hold = stage.killed_at([moment], "BUILD_DEVICE")

        # The next delivery finds it, so no reaper is needed.
        assert hold.over
        (device,) = stage.cloud.servers
        assert device["name"] == answer["name"]
        stage.check()


@pytest.mark.parametrize("moment", changing("DELETE", ONE_SERVER), ids=str)
def test_a_worker_killed_while_deleting_a_spare_device_keeps_the_good_one(
    tmp_path: Path, moment: Moment
) -> None:
    creation = Moment("POST", SERVERS, "late", late=0.5)
    with open_stage(tmp_path, boot_time=1.5, delete_time=1.0) as stage:
        answer, hold = stage.killed_at([creation, moment], "BUILD_DEVICE")
        settled(hold)

        stage.check()
        until(lambda: len(stage.cloud.servers) == 1)
        (device,) = stage.cloud.servers
        assert device["name"] == answer["name"]


@pytest.mark.parametrize("arrives", [False, True], ids=["lost", "arrives"])
@pytest.mark.parametrize("action", ["BUILD_DEVICE", "BUILD_IP", "ASSIGN_IP"])
def test_a_worker_killed_while_answering_leaves_one_resource_per_job(
    stage: Stage, action: str, arrives: bool
) -> None:
    fields = {}
    if action == "ASSIGN_IP":
        first = stage.start()
        fields["name"] = stage.passes("BUILD_DEVICE")["name"]
        fields["ip"] = stage.passes("BUILD_IP")["ip"]
        first.end()
    killed: list[bytes] = []

    def to_server(data: bytes) -> bytes | None:
        if killed or WORK_COMPLETE not in data:
            return data
        killed.append(data)
        worker.signal(signal.SIGKILL)
        worker.exit_code()
        return data if arrives else None

    with relay(stage.server.address, to_server) as between:
        worker, other = stage.several(2, between.address)
        answer = stage.submit(action, **fields)
        until(lambda: killed, TIMEOUT)
        other.signal(signal.SIGCONT)
        passed(answer)

        stage.check()
