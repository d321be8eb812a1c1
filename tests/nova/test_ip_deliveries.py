"""BUILD_IP that is delivered again: one address, none left over."""

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


def test_the_same_delivery_gets_the_same_address(pool: Pool) -> None:
    first = pool.passes("BUILD_IP", OLD)

    assert pool.passes("BUILD_IP", OLD) == first
    assert pool.only_ip()["floating_ip_address"] == first["ip"]


def test_a_unique_that_is_used_again_gets_an_address_of_its_own(
    pool: Pool,
) -> None:
    first = pool.passes("BUILD_IP", OLD)

    assert pool.passes("BUILD_IP", NEW)["ip"] != first["ip"]


@pytest.mark.parametrize("unique", UNIQUES)
def test_an_abandoned_address_is_taken_over_by_the_next_delivery(
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


def test_of_several_addresses_the_one_that_was_handed_over_is_used(
    pool: Pool,
) -> None:
    mark = Mark.for_job("libra", OLD)
    pool.openstack.create_ip(mark)
    given = pool.openstack.create_ip(mark)
    pool.openstack.create_ip(mark)
    pool.openstack.mark_ip(given, mark.handed_over())

    assert pool.passes("BUILD_IP", OLD)["ip"] == given.address
    assert pool.only_ip()["floating_ip_address"] == given.address


def test_an_address_made_besides_that_stays_does_not_cost_the_other(
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
    assert list(states.values()) == ["building"]  # the reaper's


def test_a_hand_over_that_is_lost_is_made_again(pool: Pool) -> None:
    # The reaper would delete what a client has.
    pool.fault(Fault.lost_floating_ip())

    pool.passes("BUILD_IP", OLD)

    assert "state=handed-over" in pool.only_ip()["description"]


def test_an_address_that_is_handed_over_is_answered_though_all_stops(
    pool: Pool,
) -> None:
    pool.fault(Fault(method="GET", path=IPS, skip=1, hang=3600.0))
    job = pool.submit("BUILD_IP", OLD)
    until(lambda: pool.cloud.count("GET", path=IPS) == 2)

    pool.manager.stop()

    answer = job.future.result(TIMEOUT).answer
    assert answer["response"] == "PASS"
    assert pool.only_ip()["floating_ip_address"] == answer["ip"]


def test_an_abandoned_slow_run_leaves_what_another_has_answered(
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


def left_in_state(pool: Pool, **changes: Any) -> str:
    """The address of a floating IP with such a mark, of an earlier
    delivery."""
    mark = Mark.for_job("libra", OLD)
    ip = pool.openstack.create_ip(mark)
    pool.openstack.mark_ip(ip, replace(mark, **changes))
    return ip.address


def unseen(pool: Pool) -> None:
    """The next list shows nothing: it lags."""
    pool.fault(
        Fault(method="GET", path=IPS, status=200, body={"floatingips": []})
    )


@pytest.mark.parametrize("state", ["building", "handed over", "unconfirmed"])
def test_an_address_that_lists_show_late_is_given_back(
    pool: Pool, state: str
) -> None:
    left_in_state(pool, state=state)
    unseen(pool)

    answer = pool.passes("BUILD_IP", OLD)

    assert pool.posts(IPS) == 2
    assert pool.only_ip()["floating_ip_address"] == answer["ip"]


@pytest.mark.parametrize(
    "later", [{"made": "2999-01-01T00:00:00+00:00"}, {"taken": 1}], ids=str
)
def test_what_a_later_delivery_may_have_answered_is_left(
    pool: Pool, later: dict[str, Any]
) -> None:
    # Who has lost the link and does not know it yet must not give it back.
    address = left_in_state(pool, state="handed over", **later)
    unseen(pool)

    answer = pool.passes("BUILD_IP", OLD)

    found = {ip["floating_ip_address"] for ip in pool.cloud.floating_ips}
    assert found == {address, answer["ip"]}


def test_a_late_address_that_is_in_use_is_left(pool: Pool) -> None:
    device = pool.build()
    address = left_in_state(pool, state="handed over")
    pool.passes("ASSIGN_IP", ip=address, name=device["name"])
    unseen(pool)

    answer = pool.passes("BUILD_IP", OLD)

    found = {ip["floating_ip_address"] for ip in pool.cloud.floating_ips}
    assert found == {address, answer["ip"]}


@pytest.mark.parametrize("state", ["building", "handed over"])
def test_a_job_that_fails_gives_back_what_an_earlier_delivery_left(
    pool: Pool, state: str
) -> None:
    left_in_state(pool, state=state)
    pool.cloud.set_quota(floating_ips=1)
    unseen(pool)

    answer = pool.run("BUILD_IP", OLD)

    assert error_of(answer)["code"] == "quota_exceeded"
    assert pool.cloud.floating_ips == []


def test_an_answer_that_was_not_delivered_is_undone(pool: Pool) -> None:
    job = pool.submit("BUILD_IP", OLD)
    assert job.future.result().answer["response"] == "PASS"

    job.undo()

    until(lambda: not pool.cloud.floating_ips)
