"""Tests of redelivered BUILD_IP jobs: one floating IP, and no orphan."""

from dataclasses import replace
from typing import Any

import pytest

from poolmgr import Job
from poolmgr.ownership import Mark
from poolmgr.testing.openstack import Fault
from tests.nova.pools import (
    IPS,
    NEW,
    OLD,
    ONE_IP,
    TIMEOUT,
    UNIQUES,
    Pool,
    Pools,
    error_of,
)
from tests.polling import until


def test_a_repeated_delivery_is_answered_with_the_same_floating_ip(
    pool: Pool,
) -> None:
    first = pool.passes("BUILD_IP", OLD)

    assert pool.passes("BUILD_IP", OLD) == first
    assert pool.only_ip()["floating_ip_address"] == first["ip"]


def test_a_reused_unique_gets_its_own_floating_ip(
    pool: Pool,
) -> None:
    first = pool.passes("BUILD_IP", OLD)

    assert pool.passes("BUILD_IP", NEW)["ip"] != first["ip"]


@pytest.mark.parametrize("unique", UNIQUES)
def test_the_floating_ip_of_a_disconnected_job_is_taken_over(
    pool: Pool, unique: str
) -> None:
    old, new = Job(unique, "H:host:1"), Job(unique, "H:host:2")
    abandoned = pool.run_disconnected("BUILD_IP", old)
    assert "state=building" in pool.only_ip()["description"]

    answer = pool.passes("BUILD_IP", new)

    assert answer["ip"] == abandoned["ip"]
    ip = pool.openstack.find_ip(str(answer["ip"]))
    assert ip is not None
    assert ip.mark is not None
    mark = Mark.for_job("libra", new).handed_over()
    assert (ip.mark.unique, ip.mark.handle, ip.mark.state) == (
        mark.unique,
        mark.handle,
        mark.state,
    )


def test_the_handed_over_floating_ip_of_several_is_used(
    pool: Pool,
) -> None:
    mark = Mark.for_job("libra", OLD)
    pool.openstack.create_ip(mark)
    answered = pool.openstack.create_ip(mark)
    pool.openstack.create_ip(mark)
    pool.openstack.mark_ip(answered, mark.handed_over())

    assert pool.passes("BUILD_IP", OLD)["ip"] == answered.address
    assert pool.only_ip()["floating_ip_address"] == answered.address


def test_an_unreleasable_surplus_floating_ip_does_not_fail_the_job(
    pools: Pools,
) -> None:
    pool = pools.new(short_timeout=3.0)
    mark = Mark.for_job("libra", OLD)
    for _each in range(2):
        pool.openstack.create_ip(mark)
    pool.fault(Fault(method="DELETE", path=ONE_IP, status=500, times=None))

    answer = pool.passes("BUILD_IP", OLD)

    states = {
        ip["floating_ip_address"]: ip["description"].rpartition("state=")[2]
        for ip in pool.cloud.floating_ips
    }
    assert states.pop(str(answer["ip"])).startswith("handed-over")
    assert list(states.values()) == ["building"]  # The reaper deletes it.


def test_a_lost_hand_over_mark_of_a_floating_ip_is_written_again(
    pool: Pool,
) -> None:
    # Otherwise the reaper would delete a client's floating IP.
    pool.fault(Fault.lost_floating_ip())

    pool.passes("BUILD_IP", OLD)

    assert "state=handed-over" in pool.only_ip()["description"]


def test_a_handed_over_floating_ip_is_answered_during_a_stop(
    pool: Pool,
) -> None:
    pool.fault(Fault(method="GET", path=IPS, skip=1, hang=3600.0))
    job = pool.submit("BUILD_IP", OLD)
    until(lambda: pool.cloud.count("GET", path=IPS) == 2)

    pool.manager.stop()

    answer = job.future.result(TIMEOUT).answer
    assert answer["response"] == "PASS"
    assert pool.only_ip()["floating_ip_address"] == answer["ip"]


def test_a_slow_disconnected_job_keeps_the_floating_ip_answered_elsewhere(
    pools: Pools,
) -> None:
    cloud = pools.cloud()
    slow, other = pools.new(cloud), pools.new(cloud)
    cloud.fault(Fault(method="GET", path=IPS, hang=2.0))
    abandoned = slow.submit("BUILD_IP", OLD)
    until(lambda: cloud.count("GET", path=IPS))
    abandoned.connection_lost()

    answer = other.passes("BUILD_IP", OLD)
    abandoned.future.result(TIMEOUT)

    assert "state=handed-over" in other.only_ip()["description"]
    assert other.only_ip()["floating_ip_address"] == answer["ip"]


def leave_marked_ip(pool: Pool, **changes: Any) -> str:
    """Leave a floating IP of an earlier delivery; return its address.

    :param changes: changed fields of its mark
    """
    mark = Mark.for_job("libra", OLD)
    ip = pool.openstack.create_ip(mark)
    pool.openstack.mark_ip(ip, replace(mark, **changes))
    return ip.address


def delay_list(pool: Pool) -> None:
    """Let the next list be empty."""
    pool.fault(
        Fault(method="GET", path=IPS, status=200, body={"floatingips": []})
    )


@pytest.mark.parametrize("state", ["building", "handed over", "unconfirmed"])
def test_a_floating_ip_listed_late_is_released(pool: Pool, state: str) -> None:
    leave_marked_ip(pool, state=state)
    delay_list(pool)

    answer = pool.passes("BUILD_IP", OLD)

    assert pool.posts(IPS) == 2
    assert pool.only_ip()["floating_ip_address"] == answer["ip"]


@pytest.mark.parametrize(
    "later", [{"made": "2999-01-01T00:00:00+00:00"}, {"taken": 1}], ids=str
)
def test_a_floating_ip_a_later_delivery_may_have_answered_is_kept(
    pool: Pool, later: dict[str, Any]
) -> None:
    # A worker that has not noticed its lost connection must not release it.
    address = leave_marked_ip(pool, state="handed over", **later)
    delay_list(pool)

    answer = pool.passes("BUILD_IP", OLD)

    found = {ip["floating_ip_address"] for ip in pool.cloud.floating_ips}
    assert found == {address, answer["ip"]}


def test_an_attached_floating_ip_listed_late_is_kept(pool: Pool) -> None:
    device = pool.build()
    address = leave_marked_ip(pool, state="handed over")
    pool.passes("ASSIGN_IP", ip=address, name=device["name"])
    delay_list(pool)

    answer = pool.passes("BUILD_IP", OLD)

    found = {ip["floating_ip_address"] for ip in pool.cloud.floating_ips}
    assert found == {address, answer["ip"]}


@pytest.mark.parametrize("state", ["building", "handed over"])
def test_a_failed_build_ip_releases_that_of_an_earlier_delivery(
    pool: Pool, state: str
) -> None:
    leave_marked_ip(pool, state=state)
    pool.cloud.set_quota(floating_ips=1)
    delay_list(pool)

    answer = pool.run("BUILD_IP", OLD)

    assert error_of(answer)["code"] == "quota_exceeded"
    assert pool.cloud.floating_ips == []


def test_an_undelivered_build_ip_answer_is_undone(pool: Pool) -> None:
    job = pool.submit("BUILD_IP", OLD)
    assert job.future.result().answer["response"] == "PASS"

    job.undo()

    until(lambda: not pool.cloud.floating_ips)
