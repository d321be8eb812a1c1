"""A cloud that is full is left in peace, and builds wait for room."""

import time
from dataclasses import replace

import pytest

from poolmgr.testing.openstack import Fault
from tests.nova.pools import FAST, IPS, TIMEOUT, Pool, Pools, error_of
from tests.nova.trouble import (
    MOST_CREATIONS,
    QUOTA,
    RETRIES_ON_HINT,
    Switch,
    quota_fault,
    results,
    submit,
)
from tests.polling import until

# -- quotas -------------------------------------------------------------------


def test_a_queue_of_builds_waits_for_room_and_short_jobs_do_not(
    pools: Pools,
) -> None:
    pool = pools.new(pace=RETRIES_ON_HINT)
    device, ip = pool.build(), pool.build_ip()
    switch = Switch()
    pool.fault(quota_fault(switch))
    first = submit(pool, "BUILD_DEVICE", 0)
    until(lambda: pool.quota.open)
    asked = pool.posts()

    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(1, 100)]
    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])
    pool.passes("REMOVE_IP", ip=ip["ip"], name=device["name"])

    assert not any(job.future.done() for job in (first, *jobs))
    assert pool.posts() == asked
    switch.on = False
    pool.hint(pool.quota)
    assert results([first, *jobs]) == ["PASS"] * 100
    assert len(pool.cloud.servers) == 101
    assert not pool.quota.open


def test_two_hundred_builds_at_once_cost_a_full_cloud_few_calls(
    pools: Pools,
) -> None:
    cloud = {"instances": 6, "latency": 0.02}
    pool = pools.new(cloud, pace=RETRIES_ON_HINT, long_timeout=120.0)
    device, ip = pool.build(), pool.build_ip()
    breaker = pool.quota

    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(200)]
    until(lambda: sum(job.future.done() for job in jobs) == 5)
    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])

    # The next request is due in an hour.
    until(lambda: breaker.waiting == 195)
    assert pool.posts() <= 1 + 5 + MOST_CREATIONS
    assert not any(
        job.future.done() and job.future.result().error for job in jobs
    )

    pool.cloud.set_quota(instances=1000)
    pool.hint(breaker)
    assert results(jobs) == ["PASS"] * 200
    assert pool.posts() <= 1 + 200 + MOST_CREATIONS
    assert len(pool.cloud.servers) == 201


def test_over_quota_few_calls_find_out_whether_there_is_room(
    pools: Pools,
) -> None:
    pool = pools.new(pace=replace(FAST, quota=(0.4, 0.4)))
    breaker = pool.quota
    switch = Switch()
    pool.fault(quota_fault(switch))
    jobs = [submit(pool, "BUILD_DEVICE", 0)]
    until(lambda: breaker.open)
    begun, asked = time.monotonic(), pool.posts()

    jobs += [submit(pool, "BUILD_DEVICE", n) for n in range(1, 50)]
    until(lambda: pool.posts() - asked >= 4)

    # A pause is 0.2 s at least, and fifty jobs wait.
    assert pool.posts() - asked <= (time.monotonic() - begun) / 0.2 + 1
    switch.on = False
    assert results(jobs) == ["PASS"] * 50


def test_a_full_cloud_is_asked_again_by_itself(pools: Pools) -> None:
    pace = replace(FAST, quota=(0.3, 0.3))
    pool = pools.new({"instances": 1, "floating_ips": 0}, pace=pace)
    pool.build()
    builds = [submit(pool, "BUILD_DEVICE", n) for n in range(20)]
    pool.fails("BUILD_IP", "quota_exceeded")

    pool.cloud.set_quota(instances=100, floating_ips=100)

    assert results(builds) == ["PASS"] * 20
    until(lambda: pool.run("BUILD_IP")["response"] == "PASS", pause=0.1)


def test_what_is_deleted_makes_room_at_once(pools: Pools) -> None:
    pool = pools.new({"instances": 1, "floating_ips": 1}, pace=RETRIES_ON_HINT)
    device, ip = pool.build(), pool.build_ip()
    waits = submit(pool, "BUILD_DEVICE", 1)
    pool.fails("BUILD_IP", "quota_exceeded")
    until(lambda: pool.quota.open)

    pool.passes("DELETE_DEVICE", name=device["name"])
    pool.passes("DELETE_IP", ip=ip["ip"])

    assert results([waits]) == ["PASS"]
    pool.build_ip()


def test_who_builds_by_hand_is_told_at_once(pool: Pool) -> None:
    pool.fault(quota_fault(Switch()))

    assert QUOTA in pool.fails("BUILD_DEVICE", "quota_exceeded")


@pytest.mark.parametrize("wait", [0.0, 0.3])
def test_a_build_waits_as_long_as_it_is_told(
    pools: Pools, wait: float
) -> None:
    pool = pools.new(pace=RETRIES_ON_HINT, quota_wait=wait)
    pool.fault(quota_fault(Switch()))

    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(20)]
    errors = [error_of(job.future.result(TIMEOUT).answer) for job in jobs]

    assert {error["code"] for error in errors} == {"quota_exceeded"}
    assert all(QUOTA in error["message"] for error in errors)
    if wait:
        assert pool.posts() <= 20


def test_addresses_over_quota_are_refused_without_a_call(
    pools: Pools,
) -> None:
    pool = pools.new({"floating_ips": 1}, pace=RETRIES_ON_HINT)
    pool.build_ip()
    pool.fails("BUILD_IP", "quota_exceeded")
    asked = pool.posts(IPS)

    for _time in range(30):
        pool.fails("BUILD_IP", "quota_exceeded")

    assert pool.posts(IPS) == asked


# -- devices that fail --------------------------------------------------------


def test_a_queue_is_not_burnt_on_hosts_that_are_full(pools: Pools) -> None:
    pool = pools.new(pace=RETRIES_ON_HINT)
    switch = Switch()
    pool.fault(Fault.server_error(where=switch, times=None))
    for number in range(5):
        assert results([submit(pool, "BUILD_DEVICE", number)]) == ["FAIL"]
    asked = pool.posts()

    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(5, 50)]
    by_hand = pool.fails("BUILD_DEVICE", "cloud_unavailable")

    assert "No valid host was found" in by_hand
    assert pool.posts() == asked
    switch.on = False
    pool.hint(pool.circuits.boots)
    assert results(jobs) == ["PASS"] * 45
    assert len(pool.cloud.servers) == 45


def test_builds_whose_floating_ip_is_refused_do_not_burn_the_queue(
    pools: Pools,
) -> None:
    nova = {"device_floating_ip": True}
    pool = pools.new({"floating_ips": 0}, nova, pace=RETRIES_ON_HINT)
    for number in range(5):
        job = submit(pool, "BUILD_DEVICE", number)
        error = error_of(job.future.result(TIMEOUT).answer)
        assert error["code"] == "quota_exceeded"

    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(5, 25)]
    until(lambda: pool.circuits.boots.waiting == 20)

    assert (pool.posts(), pool.posts(IPS)) == (5, 5)
    pool.cloud.set_quota(floating_ips=100)
    pool.hint(pool.circuits.boots)
    assert results(jobs) == ["PASS"] * 20
