"""BUILD_IP that is delivered again: one address, none left over."""

import pytest

from poolmgr import Job
from poolmgr.identity import Mark
from poolmgr.testing.openstack import Fault
from poolmgr.waiting import Deadline
from tests.nova.pools import (
    IPS,
    NEW,
    OLD,
    ONE_IP,
    PATIENCE,
    UNIQUES,
    Pool,
    Pools,
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
def test_a_forsaken_address_is_taken_over_by_the_next_delivery(
    pool: Pool, unique: str
) -> None:
    old, new = Job(unique, "H:host:1"), Job(unique, "H:host:2")
    forsaken = pool.forsaken("BUILD_IP", old)
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


def test_a_hand_over_that_is_lost_is_made_again(pool: Pool) -> None:
    # The reaper would delete what a client has.
    pool.fault(Fault.lost_floating_ip())

    pool.passes("BUILD_IP", OLD)

    assert "state=handed-over" in pool.only_ip()["description"]


def test_who_was_forsaken_and_is_slow_leaves_what_another_has_answered(
    pools: Pools,
) -> None:
    cloud = pools.cloud()
    slow, other = pools.new(cloud), pools.new(cloud)
    cloud.fault(Fault(method="GET", path=IPS, hang=2.0))
    forsaken = slow.submit("BUILD_IP", OLD)
    until(lambda: cloud.count("GET", path=IPS))
    forsaken.forsake()

    answer = other.passes("BUILD_IP", OLD)
    forsaken.future.result(PATIENCE)

    assert "state=handed-over" in other.only_ip()["description"]
    assert other.only_ip()["floating_ip_address"] == answer["ip"]


def test_an_answer_that_was_not_delivered_is_undone(pool: Pool) -> None:
    job = pool.submit("BUILD_IP", OLD)
    assert job.future.result().answer["response"] == "PASS"

    job.undo()

    until(lambda: not pool.cloud.floating_ips)
