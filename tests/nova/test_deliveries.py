"""BUILD_DEVICE that is delivered again: one device, none left over."""

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
def test_an_active_device_that_was_left_is_taken_over_and_handed_over(
    pool: Pool, new: Job
) -> None:
    left = pool.leave_device(OLD)
    pool.boot()

    answer = pool.passes("BUILD_DEVICE", new)

    assert answer["name"] == left
    assert answer["addr"]
    assert pool.posts() == 1
    assert state_of(pool) == ("handed-over", new.handle)


@pytest.mark.parametrize("new", [OLD, NEW], ids=["same", "later"])
def test_a_device_that_was_left_booting_is_waited_for(
    pools: Pools, new: Job
) -> None:
    pool = pools.new({"boot_time": 60.0})
    left = pool.leave_device(OLD)
    job = pool.submit("BUILD_DEVICE", new)
    until(lambda: pool.openstack.cloud.poller.waiting)

    pool.boot()

    answer = job.future.result().answer
    assert (answer["response"], answer["name"]) == ("PASS", left)
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
    second = pool.passes("BUILD_DEVICE", NEW)

    assert first["name"] != second["name"]
    assert len(pool.cloud.servers) == 2


def test_the_same_job_thrice_at_once_is_one_device(pool: Pool) -> None:
    jobs = [
        pool.submit("BUILD_DEVICE", Job("unique", f"H:host:{number}"))
        for number in range(3)
    ]

    names = {job.future.result().answer["name"] for job in jobs}

    assert names == {pool.only_server()["name"]}


@pytest.mark.parametrize("new", [OLD, NEW], ids=["same", "later"])
def test_of_two_that_were_left_one_is_used_and_the_other_deleted(
    pool: Pool, new: Job
) -> None:
    pool.leave_device(OLD, "libra-1")
    pool.leave_device(OLD, "libra-2")
    pool.boot()

    answer = pool.passes("BUILD_DEVICE", new)

    assert answer["name"] in ("libra-1", "libra-2")
    assert pool.only_server()["name"] == answer["name"]


def test_of_several_the_one_that_was_handed_over_is_used(pool: Pool) -> None:
    # The others may be about to go: its worker was deleting them.
    for number in (1, 2):
        pool.leave_device(OLD, f"libra-before-{number}")
    pool.boot()
    given = pool.passes("BUILD_DEVICE", OLD)["name"]
    for number in (1, 2):
        pool.leave_device(OLD, f"libra-after-{number}")
    pool.boot()

    assert pool.passes("BUILD_DEVICE", OLD)["name"] == given
    assert pool.only_server()["name"] == given


def test_a_device_is_handed_over_before_others_are_deleted(pool: Pool) -> None:
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
def test_one_that_was_left_and_failed_is_deleted_and_not_used(
    pool: Pool, new: Job
) -> None:
    pool.fault(Fault.server_error())
    left = pool.leave_device(OLD)
    pool.boot()
    assert pool.only_server()["status"] == "ERROR"

    answer = pool.passes("BUILD_DEVICE", new)

    assert pool.only_server()["name"] == answer["name"] != left


def test_what_was_made_besides_and_stays_does_not_cost_the_device(
    pools: Pools,
) -> None:
    pool = pools.new(long_timeout=4.0)
    for name in ("libra-1", "libra-2"):
        pool.leave_device(OLD, name)
    pool.boot()
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
    killed.submit("BUILD_DEVICE", OLD).connection_lost()
    until(lambda: cloud.servers)

    answer = other.passes("BUILD_DEVICE", NEW)

    assert other.only_server()["name"] == answer["name"]


def test_an_abandoned_slow_run_leaves_what_another_has_answered(
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
def test_an_abandoned_build_leaves_its_device_for_the_next_delivery(
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


def unseen(pool: Pool, looks: int = 1) -> None:
    """The next looks for what a job has made see nothing: lists lag."""
    pool.fault(
        Fault(
            path=DETAILS,
            where=lambda call: "tags-any" in call.query,
            status=200,
            body={"servers": []},
            times=looks,
        )
    )


def left_in_state(pool: Pool, **changes: Any) -> str:
    """The name of a device that is active, with such a mark."""
    name = pool.leave_device(OLD)
    pool.boot()
    (device,) = pool.openstack.devices_of_job(OLD.unique)
    assert device.mark is not None
    pool.openstack.mark_device(device, replace(device.mark, **changes))
    return name


@pytest.mark.parametrize("state", ["building", "handed over", "unconfirmed"])
def test_a_device_that_lists_show_late_is_deleted_whatever_its_mark_says(
    pool: Pool, state: str
) -> None:
    left_in_state(pool, state=state)
    unseen(pool)

    answer = pool.passes("BUILD_DEVICE", OLD)

    assert pool.posts() == 2
    assert pool.only_server()["name"] == answer["name"]


@pytest.mark.parametrize(
    "later", [{"made": "2999-01-01T00:00:00+00:00"}, {"taken": 1}], ids=str
)
def test_what_a_later_delivery_may_have_answered_is_left(
    pool: Pool, later: dict[str, Any]
) -> None:
    # Who has lost the link and does not know it yet must not delete it.
    name = left_in_state(pool, state="handed over", **later)
    unseen(pool)

    answer = pool.passes("BUILD_DEVICE", OLD)

    names = {server["name"] for server in pool.cloud.servers}
    assert names == {name, answer["name"]}


@pytest.mark.parametrize("state", ["building", "handed over"])
def test_a_job_that_fails_deletes_what_an_earlier_delivery_left(
    pool: Pool, state: str
) -> None:
    left_in_state(pool, state=state)
    pool.cloud.set_status(pool.only_server()["id"], "SHUTOFF")
    pool.cloud.set_quota(instances=1)
    pool.adopt(quota_wait=0.0)
    unseen(pool)

    answer = pool.run("BUILD_DEVICE", OLD)

    assert error_of(answer)["code"] == "quota_exceeded"
    assert pool.cloud.servers == []


def test_a_job_that_fails_leaves_what_its_client_has(pool: Pool) -> None:
    name = pool.passes("BUILD_DEVICE", OLD)["name"]
    pool.cloud.set_quota(instances=1)
    pool.adopt(quota_wait=0.0)

    answer = pool.run("BUILD_DEVICE", NEW)

    assert error_of(answer)["code"] == "quota_exceeded"
    assert pool.only_server()["name"] == name


def test_an_answer_that_was_not_delivered_is_undone(pool: Pool) -> None:
    job = pool.submit("BUILD_DEVICE", OLD)
    assert job.future.result().answer["response"] == "PASS"

    job.undo()

    until(lambda: not pool.cloud.servers)


def test_an_earlier_delivery_that_cannot_be_looked_for_fails_the_job(
    pools: Pools,
) -> None:
    # Building without having looked might make a second device.
    pool = pools.new(long_timeout=0.5)
    pool.fault(Fault(path=DETAILS, status=500, times=None))

    error = error_of(pool.run("BUILD_DEVICE", OLD))

    assert error["code"] in ("cloud_unavailable", "deadline")
    assert pool.posts() == 0


def test_a_hand_over_that_is_lost_is_written_again(pool: Pool) -> None:
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
