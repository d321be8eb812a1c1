"""Tests of redelivered BUILD_DEVICE jobs: one device, and no orphan."""

from dataclasses import replace
from typing import Any

import pytest

from poolmgr import Job
from poolmgr.testing.openstack import Fault
from tests.nova.pools import (
    DETAILS,
    NEW,
    OLD,
    ONE_SERVER,
    TIMEOUT,
    UNIQUES,
    Pool,
    Pools,
    error_of,
)
from tests.polling import until


def state_of(pool: Pool) -> tuple[str, str]:
    metadata = pool.only_server()["metadata"]
    return metadata["poolmgr_state"], metadata["poolmgr_handle"]


@pytest.mark.parametrize("new", [OLD, NEW], ids=["same", "later"])
def test_an_active_device_left_behind_is_taken_over(
    pool: Pool, new: Job
) -> None:
    name = pool.leave_device(OLD)
    pool.boot()

    answer = pool.passes("BUILD_DEVICE", new)

    assert answer["name"] == name
    assert answer["addr"]
    assert pool.posts() == 1
    assert state_of(pool) == ("handed-over", new.handle)


@pytest.mark.parametrize("new", [OLD, NEW], ids=["same", "later"])
def test_a_booting_device_left_behind_is_taken_over(
    pools: Pools, new: Job
) -> None:
    pool = pools.new({"boot_time": 60.0})
    name = pool.leave_device(OLD)
    job = pool.submit("BUILD_DEVICE", new)
    until(lambda: pool.openstack.cloud.poller.waiting)

    pool.boot()

    answer = job.future.result().answer
    assert (answer["response"], answer["name"]) == ("PASS", name)
    assert answer["addr"]
    assert pool.posts() == 1
    assert state_of(pool) == ("handed-over", new.handle)


def test_a_repeated_delivery_is_answered_with_the_same_device(
    pool: Pool,
) -> None:
    first = pool.passes("BUILD_DEVICE", OLD)

    assert pool.passes("BUILD_DEVICE", OLD) == first
    assert pool.posts() == 1


def test_a_reused_unique_gets_its_own_device(
    pool: Pool,
) -> None:
    first = pool.passes("BUILD_DEVICE", OLD)
    second = pool.passes("BUILD_DEVICE", NEW)

    assert first["name"] != second["name"]
    assert len(pool.cloud.servers) == 2


def test_concurrent_deliveries_of_a_job_share_one_device(pool: Pool) -> None:
    jobs = [
        pool.submit("BUILD_DEVICE", Job("unique", f"H:host:{number}"))
        for number in range(3)
    ]

    names = {job.future.result().answer["name"] for job in jobs}

    assert names == {pool.only_server()["name"]}


@pytest.mark.parametrize("new", [OLD, NEW], ids=["same", "later"])
def test_one_of_two_devices_left_behind_is_used_the_other_deleted(
    pool: Pool, new: Job
) -> None:
    pool.leave_device(OLD, "libra-1")
    pool.leave_device(OLD, "libra-2")
    pool.boot()

    answer = pool.passes("BUILD_DEVICE", new)

    assert answer["name"] in ("libra-1", "libra-2")
    assert pool.only_server()["name"] == answer["name"]


def test_the_handed_over_device_of_several_is_used(pool: Pool) -> None:
    # The worker of the first delivery may still delete the others.
    for number in (1, 2):
        pool.leave_device(OLD, f"libra-before-{number}")
    pool.boot()
    answered = pool.passes("BUILD_DEVICE", OLD)["name"]
    for number in (1, 2):
        pool.leave_device(OLD, f"libra-after-{number}")
    pool.boot()

    assert pool.passes("BUILD_DEVICE", OLD)["name"] == answered
    assert pool.only_server()["name"] == answered


def test_a_device_is_handed_over_before_the_surplus_is_deleted(
    pool: Pool,
) -> None:
    for number in (1, 2):
        pool.leave_device(OLD, f"libra-{number}")
    pool.boot()
    pool.cloud.forget_calls()

    pool.passes("BUILD_DEVICE", OLD)

    changes = [
        call.method
        for call in pool.cloud.calls
        if call.service == "compute" and call.method != "GET"
    ]
    assert changes == ["POST", "DELETE"]


@pytest.mark.parametrize("new", [OLD, NEW], ids=["same", "later"])
def test_a_failed_device_left_behind_is_deleted_and_not_used(
    pool: Pool, new: Job
) -> None:
    pool.fault(Fault.server_error())
    name = pool.leave_device(OLD)
    pool.boot()
    assert pool.only_server()["status"] == "ERROR"

    answer = pool.passes("BUILD_DEVICE", new)

    assert pool.only_server()["name"] == answer["name"] != name


def test_an_undeletable_surplus_device_does_not_fail_the_job(
    pools: Pools,
) -> None:
    pool = pools.new(long_timeout=4.0)
    for name in ("libra-1", "libra-2"):
        pool.leave_device(OLD, name)
    pool.boot()
    pool.fault(Fault(method="DELETE", path=ONE_SERVER, status=500, times=None))

    answer = pool.passes("BUILD_DEVICE", OLD)

    states = {
        server["name"]: server["metadata"]["poolmgr_state"]
        for server in pool.cloud.servers
    }
    assert states.pop(answer["name"]) == "handed-over"
    assert set(states.values()) == {"building"}  # The reaper deletes these.


def test_a_build_of_a_killed_worker_leaves_one_device(
    pools: Pools,
) -> None:
    cloud = pools.cloud(boot_time=0.5)
    killed, other = pools.new(cloud), pools.new(cloud)
    killed.submit("BUILD_DEVICE", OLD).connection_lost()
    until(lambda: cloud.servers)

    answer = other.passes("BUILD_DEVICE", NEW)

    assert other.only_server()["name"] == answer["name"]


def test_a_slow_disconnected_build_keeps_the_device_answered_elsewhere(
    pools: Pools,
) -> None:
    cloud = pools.cloud()
    slow, other = pools.new(cloud), pools.new(cloud)
    cloud.fault(Fault(method="GET", path=DETAILS, hang=2.0))
    abandoned = slow.submit("BUILD_DEVICE", OLD)
    until(lambda: cloud.count("GET", path=DETAILS))
    abandoned.connection_lost()

    answer = other.passes("BUILD_DEVICE", OLD)
    abandoned.future.result(TIMEOUT)

    assert other.only_server()["name"] == answer["name"]
    (device,) = other.openstack.list_devices()
    assert device.mark is not None
    assert device.mark.state == "handed over"


@pytest.mark.parametrize("unique", UNIQUES)
def test_the_device_of_a_disconnected_build_is_taken_over(
    pools: Pools, unique: str
) -> None:
    cloud = pools.cloud()
    pool, other = pools.new(cloud), pools.new(cloud)
    old, new = Job(unique, "H:host:1"), Job(unique, "H:host:2")
    abandoned = pool.run_disconnected("BUILD_DEVICE", old)
    assert state_of(pool) == ("building", old.handle)

    answer = other.passes("BUILD_DEVICE", new)

    assert answer["name"] == abandoned["name"]
    assert state_of(pool) == ("handed-over", new.handle)


def delay_lists(pool: Pool) -> None:
    """Let the next look-up of the job's devices find none."""
    pool.fault(
        Fault(
            path=DETAILS,
            where=lambda call: "tags-any" in call.query,
            status=200,
            body={"servers": []},
        )
    )


def leave_marked_device(pool: Pool, **changes: Any) -> str:
    """Leave an active device; return its name.

    :param changes: changed fields of its mark
    """
    name = pool.leave_device(OLD)
    pool.boot()
    (device,) = pool.openstack.devices_of_job(OLD.unique)
    assert device.mark is not None
    pool.openstack.mark_device(device, replace(device.mark, **changes))
    return name


@pytest.mark.parametrize("state", ["building", "handed over", "unconfirmed"])
def test_a_device_listed_late_is_deleted_whatever_its_mark(
    pool: Pool, state: str
) -> None:
    leave_marked_device(pool, state=state)
    delay_lists(pool)

    answer = pool.passes("BUILD_DEVICE", OLD)

    assert pool.posts() == 2
    assert pool.only_server()["name"] == answer["name"]


@pytest.mark.parametrize(
    "later", [{"made": "2999-01-01T00:00:00+00:00"}, {"taken": 1}], ids=str
)
def test_a_device_a_later_delivery_may_have_answered_is_kept(
    pool: Pool, later: dict[str, Any]
) -> None:
    # A worker that has not noticed its lost connection must not delete it.
    name = leave_marked_device(pool, state="handed over", **later)
    delay_lists(pool)

    answer = pool.passes("BUILD_DEVICE", OLD)

    names = {server["name"] for server in pool.cloud.servers}
    assert names == {name, answer["name"]}


@pytest.mark.parametrize("state", ["building", "handed over"])
def test_a_failed_build_deletes_the_device_of_an_earlier_delivery(
    pool: Pool, state: str
) -> None:
    leave_marked_device(pool, state=state)
    pool.cloud.set_status(pool.only_server()["id"], "SHUTOFF")
    pool.cloud.set_quota(instances=1)
    pool.adopt(quota_wait=0.0)
    delay_lists(pool)

    answer = pool.run("BUILD_DEVICE", OLD)

    assert error_of(answer)["code"] == "quota_exceeded"
    assert pool.cloud.servers == []


def test_a_failed_build_keeps_the_device_of_its_client(pool: Pool) -> None:
    name = pool.passes("BUILD_DEVICE", OLD)["name"]
    pool.cloud.set_quota(instances=1)
    pool.adopt(quota_wait=0.0)

    answer = pool.run("BUILD_DEVICE", NEW)

    assert error_of(answer)["code"] == "quota_exceeded"
    assert pool.only_server()["name"] == name


def test_an_undelivered_build_answer_is_undone(pool: Pool) -> None:
    job = pool.submit("BUILD_DEVICE", OLD)
    assert job.future.result().answer["response"] == "PASS"

    job.undo()

    until(lambda: not pool.cloud.servers)


def test_a_build_fails_if_an_earlier_delivery_cannot_be_looked_up(
    pools: Pools,
) -> None:
    # A build without the look-up could create a second device.
    pool = pools.new(long_timeout=0.5)
    pool.fault(Fault(path=DETAILS, status=500, times=None))

    error = error_of(pool.run("BUILD_DEVICE", OLD))

    assert error["code"] in ("cloud_unavailable", "deadline")
    assert pool.posts() == 0


def test_a_lost_hand_over_mark_of_a_device_is_written_again(
    pool: Pool,
) -> None:
    pool.fault(
        Fault(
            method="POST",
            path=f"{ONE_SERVER}/metadata",
            status=200,
            body={"metadata": {}},
        )
    )

    pool.passes("BUILD_DEVICE", OLD)

    state = pool.only_server()["metadata"]["poolmgr_state"]
    assert state == "handed-over"
