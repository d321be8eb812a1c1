"""Tests of used up quotas and full hosts: few calls, and builds wait."""

import time
from dataclasses import replace

import pytest

from poolmgr.testing.openstack import Fault
from tests.nova.faults import (
    MOST_CREATIONS,
    QUOTA,
    RETRIES_ON_HINT,
    Switch,
    quota_fault,
    results,
    submit,
)
from tests.nova.pools import FAST, IPS, TIMEOUT, Pool, Pools, error_of
from tests.polling import until

# -- quotas -------------------------------------------------------------------


def test_builds_wait_for_quota_while_short_jobs_are_answered(
    pools: Pools,
) -> None:
    pool = pools.new(pace=RETRIES_ON_HINT)
    device, ip = pool.build(), pool.build_ip()
    switch = Switch()
    pool.fault(quota_fault(switch))
    first = submit(pool, "BUILD_DEVICE", 0)
    until(lambda: pool.quota.open)
    posts = pool.posts()

    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(1, 100)]
    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])
    pool.passes("REMOVE_IP", ip=ip["ip"], name=device["name"])

    assert not any(job.future.done() for job in (first, *jobs))
    assert pool.posts() == posts
    switch.on = False
    pool.hint(pool.quota)
    assert results([first, *jobs]) == ["PASS"] * 100
    assert len(pool.cloud.servers) == 101
    assert not pool.quota.open


def test_200_concurrent_builds_over_quota_make_few_calls(
    pools: Pools,
) -> None:
    cloud = {"instances": 6, "latency": 0.02}
    pool = pools.new(cloud, pace=RETRIES_ON_HINT, long_timeout=120.0)
    device, ip = pool.build(), pool.build_ip()
    breaker = pool.quota

    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(200)]
    until(lambda: sum(job.future.done() for job in jobs) == 5)
    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])

    # All others wait: their next trial call is due in an hour.
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


def test_trial_calls_over_quota_are_paced(
    pools: Pools,
) -> None:
    pool = pools.new(pace=replace(FAST, quota=(0.4, 0.4)))
    breaker = pool.quota
    switch = Switch()
    pool.fault(quota_fault(switch))
    jobs = [submit(pool, "BUILD_DEVICE", 0)]
    until(lambda: breaker.open)
    start, posts = time.monotonic(), pool.posts()

    jobs += [submit(pool, "BUILD_DEVICE", n) for n in range(1, 50)]
    until(lambda: pool.posts() - posts >= 4)

    # The pause between two trial calls is at least 0.2 s.
    assert pool.posts() - posts <= (time.monotonic() - start) / 0.2 + 1
    switch.on = False
    assert results(jobs) == ["PASS"] * 50


def test_jobs_over_quota_are_retried_until_the_quota_is_raised(
    pools: Pools,
) -> None:
    pace = replace(FAST, quota=(0.3, 0.3))
    pool = pools.new({"instances": 1, "floating_ips": 0}, pace=pace)
    pool.build()
    builds = [submit(pool, "BUILD_DEVICE", n) for n in range(20)]
    pool.fails("BUILD_IP", "quota_exceeded")

    pool.cloud.set_quota(instances=100, floating_ips=100)

    assert results(builds) == ["PASS"] * 20
    until(lambda: pool.run("BUILD_IP")["response"] == "PASS", pause=0.1)


def test_a_deletion_lets_a_build_over_quota_start_immediately(
    pools: Pools,
) -> None:
    pool = pools.new({"instances": 1, "floating_ips": 1}, pace=RETRIES_ON_HINT)
    device, ip = pool.build(), pool.build_ip()
    waiting = submit(pool, "BUILD_DEVICE", 1)
    pool.fails("BUILD_IP", "quota_exceeded")
    until(lambda: pool.quota.open)

    pool.passes("DELETE_DEVICE", name=device["name"])
    pool.passes("DELETE_IP", ip=ip["ip"])

    assert results([waiting]) == ["PASS"]
    pool.build_ip()


def test_a_build_without_a_job_server_does_not_wait_for_quota(
    pool: Pool,
) -> None:
    pool.fault(quota_fault(Switch()))

    assert QUOTA in pool.fails("BUILD_DEVICE", "quota_exceeded")


@pytest.mark.parametrize("wait", [0.0, 0.3])
def test_a_build_waits_for_quota_no_longer_than_quota_wait(
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


def test_floating_ips_over_quota_are_refused_without_a_call(
    pools: Pools,
) -> None:
    pool = pools.new({"floating_ips": 1}, pace=RETRIES_ON_HINT)
    pool.build_ip()
    pool.fails("BUILD_IP", "quota_exceeded")
    posts = pool.posts(IPS)

    for _time in range(30):
        pool.fails("BUILD_IP", "quota_exceeded")

    assert pool.posts(IPS) == posts


# -- failing devices ----------------------------------------------------------


def test_the_queue_waits_after_devices_failed_on_full_hosts(
    pools: Pools,
) -> None:
    pool = pools.new(pace=RETRIES_ON_HINT)
    switch = Switch()
    pool.fault(Fault.server_error(where=switch, times=None))
    for number in range(5):
        assert results([submit(pool, "BUILD_DEVICE", number)]) == ["FAIL"]
    posts = pool.posts()

    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(5, 50)]
    # A build without a job server does not wait.
    reason = pool.fails("BUILD_DEVICE", "cloud_unavailable")

    assert "No valid host was found" in reason
    assert pool.posts() == posts
    switch.on = False
    pool.hint(pool.circuits.boots)
    assert results(jobs) == ["PASS"] * 45
    assert len(pool.cloud.servers) == 45


def test_the_queue_waits_after_floating_ips_of_builds_were_refused(
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
