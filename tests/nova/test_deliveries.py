"""Jobs that are delivered again: one device, one address, none left over."""

from concurrent.futures import Future
from typing import Any

import pytest

from poolmgr import Job
from poolmgr.execution import Submission
from poolmgr.identity import Mark
from poolmgr.testing.openstack import Fault
from poolmgr.waiting import Deadline
from tests.nova.pools import (
    DETAILS,
    IPS,
    ONE_IP,
    ONE_SERVER,
    PATIENCE,
    Pool,
    Pools,
    error_of,
)
from tests.polling import until

OLD = Job("unique", "H:host:1", "127.0.0.1:4730")
#: The same delivery, and one after the job server was restarted.
NEW = [OLD, Job("unique", "H:host:7", "127.0.0.1:4730")]


def state_of(pool: Pool) -> tuple[str, str]:
    metadata = pool.only_server()["metadata"]
    return metadata["poolmgr_state"], metadata["poolmgr_handle"]


@pytest.mark.parametrize("boot_time", [0.05, 0.4], ids=["active", "building"])
@pytest.mark.parametrize("new", NEW, ids=["same handle", "new handle"])
def test_a_device_that_was_left_is_taken_over_and_handed_over(
    pools: Pools, boot_time: float, new: Job
) -> None:
    pool = pools.new({"boot_time": boot_time})
    left = pool.left_by(OLD)
    if boot_time < 0.1:
        until(lambda: pool.only_server()["status"] == "ACTIVE")

    answer = pool.passes("BUILD_DEVICE", new)

    assert answer["name"] == left
    assert answer["addr"]
    assert pool.posts() == 1
    assert state_of(pool) == ("handed-over", new.handle)


def test_the_same_delivery_gets_what_was_handed_over_and_not_answered(
    pool: Pool,
) -> None:
    first = pool.passes("BUILD_DEVICE", OLD)

    assert pool.passes("BUILD_DEVICE", OLD) == first
    assert pool.posts() == 1


def test_a_unique_that_is_used_again_gets_a_device_of_its_own(
    pool: Pool,
) -> None:
    first = pool.passes("BUILD_DEVICE", OLD)
    second = pool.passes("BUILD_DEVICE", NEW[1])

    assert first["name"] != second["name"]
    assert len(pool.cloud.servers) == 2


def test_the_same_job_thrice_at_once_is_one_device(pool: Pool) -> None:
    jobs = [
        pool.submit("BUILD_DEVICE", Job("unique", f"H:host:{number}"))
        for number in range(3)
    ]

    names = {job.future.result().answer["name"] for job in jobs}

    assert names == {pool.only_server()["name"]}


@pytest.mark.parametrize("new", NEW, ids=["same handle", "new handle"])
def test_of_two_that_were_left_one_is_used_and_the_other_deleted(
    pool: Pool, new: Job
) -> None:
    pool.left_by(OLD, "libra-1")
    pool.left_by(OLD, "libra-2")
    until(lambda: all(s["status"] == "ACTIVE" for s in pool.cloud.servers))

    answer = pool.passes("BUILD_DEVICE", new)

    assert answer["name"] in ("libra-1", "libra-2")
    assert pool.only_server()["name"] == answer["name"]


def test_of_several_the_one_that_was_handed_over_is_used(pool: Pool) -> None:
    # The others may be about to go: its worker was deleting them.
    for number in (1, 2):
        pool.left_by(OLD, f"libra-before-{number}")
    until(lambda: all(s["status"] == "ACTIVE" for s in pool.cloud.servers))
    given = pool.passes("BUILD_DEVICE", OLD)["name"]
    for number in (1, 2):
        pool.left_by(OLD, f"libra-after-{number}")
    until(lambda: all(s["status"] == "ACTIVE" for s in pool.cloud.servers))

    assert pool.passes("BUILD_DEVICE", OLD)["name"] == given
    assert pool.only_server()["name"] == given


def test_a_device_is_handed_over_before_others_are_deleted(pool: Pool) -> None:
    for number in (1, 2):
        pool.left_by(OLD, f"libra-{number}")
    until(lambda: all(s["status"] == "ACTIVE" for s in pool.cloud.servers))
    pool.cloud.forget_calls()

    pool.passes("BUILD_DEVICE", OLD)

    changes = [
        call.method
        for call in pool.cloud.calls
        if call.service == "compute" and call.method != "GET"
    ]
    assert changes == ["POST", "POST", "DELETE"]  # taken, handed over, ...


@pytest.mark.parametrize("new", NEW, ids=["same handle", "new handle"])
def test_one_that_was_left_and_failed_is_deleted_and_not_used(
    pool: Pool, new: Job
) -> None:
    pool.fault(Fault.server_error())
    left = pool.left_by(OLD)
    until(lambda: pool.only_server()["status"] == "ERROR")

    answer = pool.passes("BUILD_DEVICE", new)

    assert pool.only_server()["name"] == answer["name"] != left


def test_what_was_made_besides_and_stays_does_not_cost_the_device(
    pools: Pools,
) -> None:
    pool = pools.new(long_timeout=2.0)
    for name in ("libra-1", "libra-2"):
        pool.left_by(OLD, name)
    until(lambda: all(s["status"] == "ACTIVE" for s in pool.cloud.servers))
    fault = Fault(method="DELETE", path=ONE_SERVER, status=500, times=None)
    pool.fault(fault)

    answer = pool.passes("BUILD_DEVICE", OLD)

    states = {
        server["name"]: server["metadata"]["poolmgr_state"]
        for server in pool.cloud.servers
    }
    assert states.pop(answer["name"]) == "handed-over"
    assert set(states.values()) == {"building"}  # the reaper's


def test_a_worker_that_was_killed_in_mid_build_leaves_one_device(
    pools: Pools,
) -> None:
    cloud = pools.cloud(boot_time=0.5)
    killed, other = pools.new(cloud), pools.new(cloud)
    killed.submit("BUILD_DEVICE", OLD).forsake()
    until(lambda: cloud.servers)

    answer = other.passes("BUILD_DEVICE", NEW[1])

    assert other.only_server()["name"] == answer["name"]


@pytest.mark.parametrize(
    ("action", "path"), [("BUILD_DEVICE", DETAILS), ("BUILD_IP", IPS)]
)
def test_who_was_forsaken_and_is_slow_leaves_what_another_has_answered(
    pools: Pools, action: str, path: str
) -> None:
    cloud = pools.cloud()
    slow, other = pools.new(cloud), pools.new(cloud)
    cloud.fault(Fault(method="GET", path=path, hang=2.0))
    forsaken = slow.submit(action, OLD)
    until(lambda: cloud.count("GET", path=path))
    forsaken.forsake()

    answer = other.passes(action, OLD)
    forsaken.future.result(PATIENCE)

    if action == "BUILD_IP":
        assert "state=handed-over" in other.only_ip()["description"]
        assert other.only_ip()["floating_ip_address"] == answer["ip"]
    else:
        assert other.only_server()["name"] == answer["name"]
        (device,) = other.driver.list_devices(Deadline(PATIENCE))
        assert device.mark is not None
        assert device.mark.state == "handed over"


def test_of_several_addresses_the_one_that_was_handed_over_is_used(
    pool: Pool,
) -> None:
    deadline = Deadline(PATIENCE)
    mark = Mark.for_job("libra", OLD)
    pool.driver.create_ip(mark, deadline)
    given = pool.driver.create_ip(mark, deadline)
    pool.driver.create_ip(mark, deadline)
    pool.driver.mark_ip(given, mark.handed_over(), deadline)

    assert pool.passes("BUILD_IP", OLD)["ip"] == given.address
    assert pool.only_ip()["floating_ip_address"] == given.address


def test_an_address_made_besides_that_stays_does_not_cost_the_other(
    pools: Pools,
) -> None:
    pool = pools.new(short_timeout=3.0)
    mark = Mark.for_job("libra", OLD)
    for _each in range(2):
        pool.driver.create_ip(mark, Deadline(PATIENCE))
    pool.fault(Fault(method="DELETE", path=ONE_IP, status=500, times=None))

    answer = pool.passes("BUILD_IP", OLD)

    states = {
        ip["floating_ip_address"]: ip["description"].rpartition("state=")[2]
        for ip in pool.cloud.floating_ips
    }
    assert states.pop(str(answer["ip"])).startswith("handed-over")
    assert list(states.values()) == ["building"]  # the reaper's


def test_a_forsaken_build_leaves_its_device_for_the_next_delivery(
    pool: Pool,
) -> None:
    forsaken = run_forsaken(pool, "BUILD_DEVICE", OLD)
    assert state_of(pool) == ("building", OLD.handle)

    answer = pool.passes("BUILD_DEVICE", NEW[1])

    assert answer["name"] == forsaken["name"]
    assert state_of(pool) == ("handed-over", NEW[1].handle)


def test_an_answer_that_was_not_delivered_is_undone(pool: Pool) -> None:
    device = pool.submit("BUILD_DEVICE", OLD)
    ip = pool.submit("BUILD_IP", OLD)
    assert results(device, ip) == ["PASS", "PASS"]

    device.undo()
    ip.undo()

    until(lambda: not (pool.cloud.servers or pool.cloud.floating_ips))


def test_an_earlier_delivery_that_cannot_be_looked_for_fails_the_job(
    pools: Pools,
) -> None:
    # Building without having looked might make a second device.
    pool = pools.new(long_timeout=0.5)
    pool.fault(Fault(path=DETAILS, status=500, times=None))

    error = error_of(pool.run("BUILD_DEVICE", OLD))

    assert error["code"] in ("cloud_unavailable", "deadline")
    assert pool.posts() == 0


# -- BUILD_IP ---------------------------------------------------------------


def test_the_same_delivery_gets_the_same_address(pool: Pool) -> None:
    first = pool.passes("BUILD_IP", OLD)

    assert pool.passes("BUILD_IP", OLD) == first
    assert pool.only_ip()["floating_ip_address"] == first["ip"]


def test_a_unique_that_is_used_again_gets_an_address_of_its_own(
    pool: Pool,
) -> None:
    first = pool.passes("BUILD_IP", OLD)

    assert pool.passes("BUILD_IP", NEW[1])["ip"] != first["ip"]


@pytest.mark.parametrize(
    "unique",
    [
        "unique",
        "with a blank=and more",
        "ü" * 32,
        "\N{OWL}" * 16,
        "%" * 64,
        "x" * 64,
    ],
)
def test_a_forsaken_address_is_taken_over_by_the_next_delivery(
    pool: Pool, unique: str
) -> None:
    old, new = Job(unique, "H:host:1"), Job(unique, "H:host:2")
    forsaken = run_forsaken(pool, "BUILD_IP", old)
    assert "state=building" in pool.only_ip()["description"]

    answer = pool.passes("BUILD_IP", new)

    assert answer["ip"] == forsaken["ip"]
    ip = pool.driver.find_ip(str(answer["ip"]), Deadline(PATIENCE))
    assert ip is not None
    assert ip.mark is not None
    mark = Mark.for_job("libra", new).handed_over()
    assert (ip.mark.unique, ip.mark.handle, ip.mark.state) == (
        mark.unique,
        mark.handle,
        mark.state,
    )


def run_forsaken(pool: Pool, action: str, job: Job) -> dict[str, Any]:
    """The answer of a job that nobody waits for any more."""
    submission = pool.submit(action, job)
    submission.forsake()
    answer = submission.future.result().answer
    assert answer["response"] == "PASS", answer
    return dict(answer)


def results(*jobs: Submission) -> list[object]:
    futures: list[Future[Any]] = [job.future for job in jobs]
    return [future.result().answer["response"] for future in futures]


def test_handing_an_address_over_is_not_lost_silently(pool: Pool) -> None:
    # The reaper would delete what a client has.
    pool.fault(Fault.lost_floating_ip())

    pool.passes("BUILD_IP", OLD)

    assert "state=handed-over" in pool.only_ip()["description"]


def test_nor_is_handing_a_device_over(pool: Pool) -> None:
    pool.fault(
        Fault(
            method="POST",
            path=f"{ONE_SERVER}/metadata",
            status=200,
            body={"metadata": {}},
        )
    )

    answer = pool.run("BUILD_DEVICE", OLD)

    assert error_of(answer)["code"] == "cloud_unavailable"
    assert not pool.cloud.servers
