"""Tests of clouds that are down or slow, and of their recovery."""

import time
from typing import Any

import pytest

from poolmgr.jobs.pool_manager import BlockingDelivery
from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.jobservers import free_port
from tests.nova.faults import (
    MOST_CREATIONS,
    RETRIES_ON_HINT,
    Switch,
    results,
    submit,
)
from tests.nova.pools import (
    DETAILS,
    IPS,
    ONE_SERVER,
    SERVERS,
    TIMEOUT,
    Pool,
    Pools,
    error_of,
)
from tests.peers import closes, peer
from tests.polling import until

# -- total outages ------------------------------------------------------------


@pytest.mark.parametrize("effect", [{"status": 503}, {"reset": True}])
def test_a_failing_cloud_gets_few_calls_and_is_used_once_it_recovers(
    pool: Pool, effect: dict[str, Any]
) -> None:
    device, ip = pool.build(), pool.build_ip()
    pool.adopt(short_timeout=1.0)
    switch = Switch()
    for service in ("compute", "network"):
        pool.fault(switch.fault(service=service, **effect))
    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(100)]
    until(lambda: any(b.open for b in pool.circuits.calls.values()))
    start, before = time.monotonic(), len(pool.cloud.calls)

    # A short job is answered by its deadline, with the cloud's reason.
    reason = pool.fails(
        "ASSIGN_IP", "cloud_unavailable", ip=ip["ip"], name=device["name"]
    )
    assert "floatingips" in reason or "servers" in reason
    until(lambda: time.monotonic() - start > 2.0)
    # Two services, reading and writing; each makes two attempts, one of them
    # for a short job, and then pauses for a quarter of a second or longer.
    elapsed = time.monotonic() - start
    assert len(pool.cloud.calls) - before <= 4 * 2 * elapsed / 0.25 + 8
    switch.on = False

    assert results(jobs) == ["PASS"] * 100
    pool.adopt(short_timeout=TIMEOUT)
    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])
    assert len(pool.cloud.servers) == 101


def lose_cloud(pools: Pools, port: int) -> Pool:
    """Return a pool whose cloud, on this port, is down from now on."""
    cloud = pools.cloud(port=port)
    pool = pools.new(cloud, long_timeout=120.0)
    pool.build()
    pool.build_ip()
    pool.adopt(short_timeout=2.0)
    cloud.close()
    return pool


def start_builds(pool: Pool) -> list[BlockingDelivery]:
    """Submit a hundred builds; wait until they are stuck."""
    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(100)]
    until(lambda: pool.stuck)
    return jobs


def finish_builds(port: int, jobs: list[BlockingDelivery]) -> None:
    """Start another cloud on this port; require that the builds pass."""
    with LoopbackCloud(port=port, boot_time=0.05) as cloud:
        assert results(jobs) == ["PASS"] * 100
        assert len(cloud.servers) == 100


def test_a_cloud_that_closes_connections_is_tried_rarely(
    pools: Pools,
) -> None:
    port = free_port()
    pool = lose_cloud(pools, port)
    with peer(closes, port) as server:
        jobs = start_builds(pool)
        start, before = time.monotonic(), len(server.times)
        pool.fails("BUILD_IP", "cloud_unavailable")
        until(lambda: time.monotonic() - start > 4.0)
        # Reading and creating, each for builds and for the short job, and a
        # login for each, with pauses of a quarter of a second or more.
        elapsed = time.monotonic() - start
        assert len(server.times) - before <= 8 * (elapsed / 0.25 + 2)

    finish_builds(port, jobs)


def test_a_cloud_that_refuses_connections_is_used_once_it_is_back(
    pools: Pools,
) -> None:
    port = free_port()
    pool = lose_cloud(pools, port)
    jobs = start_builds(pool)

    reason = pool.fails("BUILD_IP", "cloud_unavailable")

    assert "Connection refused" in reason
    finish_builds(port, jobs)


def test_queued_calls_are_not_made_once_the_service_fails(
    pools: Pools,
) -> None:
    nova = {"calls_at_once": 4}
    pool = pools.new({"latency": 0.05}, nova, pace=RETRIES_ON_HINT)
    pool.build()
    breaker = pool.breaker("making compute")
    switch = Switch()
    pool.fault(switch.fault(method="POST", path=SERVERS, status=503))
    before = pool.posts()

    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(100)]
    until(lambda: breaker.waiting >= MOST_CREATIONS - 5)

    # Three more may be in flight when the fifth failure opens the breaker.
    assert pool.posts() - before <= 5 + 3
    switch.on = False
    pool.hint(breaker)
    assert results(jobs) == ["PASS"] * 100


def test_a_job_in_an_outage_fails_with_the_clouds_reason(
    pool: Pool,
) -> None:
    pool.build_ip()
    pool.adopt(short_timeout=8.0)  # enough for each job to call the cloud
    pool.fault(Fault(method="POST", path=IPS, status=500, times=None))

    jobs = [submit(pool, "BUILD_IP", n) for n in range(40)]
    errors = [error_of(job.future.result(TIMEOUT).answer) for job in jobs]

    assert {error["code"] for error in errors} == {"cloud_unavailable"}
    assert not any("not done within" in error["message"] for error in errors)


def test_builds_are_stuck_only_during_an_outage(pool: Pool) -> None:
    pool.build()
    assert not pool.stuck
    switch = Switch()
    pool.fault(switch.fault(service="compute", status=503))

    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(3)]
    until(lambda: pool.stuck)

    switch.on = False
    assert results(jobs) == ["PASS"] * 3
    assert not pool.stuck


def test_conflicts_do_not_open_a_circuit_breaker(
    pools: Pools,
) -> None:
    pool = pools.new(short_timeout=1.0)
    names = [pool.build()["name"] for _each in range(8)]
    pool.fault(Fault(method="DELETE", path=ONE_SERVER, status=409, times=None))

    for name in names:
        pool.fails("DELETE_DEVICE", "cloud_unavailable", name=name)

    assert not pool.stuck


# -- partial outages ----------------------------------------------------------


def test_an_outage_of_neutron_does_not_stop_builds_and_deletions(
    pool: Pool,
) -> None:
    pool.build()  # looks up the networks, which Neutron lists
    switch = Switch()
    pool.fault(switch.fault(service="network", status=500))
    ip_jobs = [submit(pool, "BUILD_IP", n) for n in range(20)]
    until(lambda: pool.circuits.calls["reading network"].open)

    names = [pool.build()["name"] for _time in range(5)]
    pool.passes("DELETE_DEVICE", name=names[0])

    switch.on = False
    assert results(ip_jobs) == ["PASS"] * 20


def test_devices_are_deleted_while_creations_fail(
    pool: Pool,
) -> None:
    device = pool.build()
    pool.adopt(long_timeout=1.5)
    switch = Switch()
    pool.fault(switch.fault(method="POST", path=SERVERS, status=500))
    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(20)]
    until(lambda: pool.circuits.calls["making compute"].open)

    pool.passes("DELETE_DEVICE", name=device["name"])

    assert results(jobs) == ["FAIL"] * 20
    assert not pool.circuits.calls["changing compute"].open


def test_created_devices_are_finished_while_creations_fail(
    pools: Pools,
) -> None:
    pool = pools.new(
        {"boot_time": 1.0}, pace=RETRIES_ON_HINT, long_timeout=60.0
    )
    pool.build()
    breaker = pool.breaker("making compute")
    created = [submit(pool, "BUILD_DEVICE", n) for n in range(5)]
    until(lambda: len(pool.cloud.servers) == 6)
    switch = Switch()
    pool.fault(switch.fault(method="POST", path=SERVERS, status=500))
    waiting = [submit(pool, "BUILD_DEVICE", n) for n in range(5, 25)]
    until(lambda: breaker.open)

    # Marking them as handed over is still possible.
    assert results(created) == ["PASS"] * 5
    assert not any(job.future.done() for job in waiting)
    switch.on = False
    pool.hint(breaker)
    assert results(waiting) == ["PASS"] * 20


def test_a_known_device_is_deleted_while_lists_fail(
    pools: Pools,
) -> None:
    pool = pools.new(pace=RETRIES_ON_HINT)
    name = str(pool.build()["name"])
    (device,) = pool.openstack.find_devices(name)
    reading = pool.breaker("reading compute")
    pool.fault(Fault(method="GET", path=DETAILS, status=500, times=None))
    pool.record_failures(reading)

    pool.openstack.delete_device(device)

    assert not pool.cloud.servers
    assert reading.open


# -- slow clouds --------------------------------------------------------------


def test_short_jobs_do_not_wait_for_slow_builds(
    pools: Pools,
) -> None:
    pool = pools.new({"boot_time": 0.1}, {"calls_at_once": 4})
    device, ip = pool.build(), pool.build_ip()
    pool.fault(
        Fault(method="POST", path=SERVERS, times=None, hang=1.0),
    )
    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(30)]
    until(lambda: pool.posts() >= 4)

    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])
    pool.passes("REMOVE_IP", ip=ip["ip"], name=device["name"])
    pool.passes("DELETE_DEVICE", name=device["name"])

    assert sum(job.future.done() for job in jobs) < 30
    assert results(jobs) == ["PASS"] * 30


def test_a_hanging_call_does_not_delay_the_recovery_of_its_service(
    pools: Pools,
) -> None:
    pool = pools.new(nova={"call_timeout": 60.0}, long_timeout=60.0)
    pool.build()
    breaker = pool.breaker("reading compute")
    pool.record_failures(breaker)
    pool.fault(Fault(service="compute", method="GET", hang=10.0))
    before = pool.cloud.count("GET", "compute")
    hanging = submit(pool, "BUILD_DEVICE", 0)
    until(lambda: pool.cloud.count("GET", "compute") > before)

    # Another call succeeds and closes the circuit breaker.
    pool.build()

    assert not hanging.future.done()
    assert not breaker.open
    assert results([hanging]) == ["PASS"]
