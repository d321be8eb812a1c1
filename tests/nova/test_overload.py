"""A cloud that is full, down or slow is left in peace, and found out about."""

import time
from typing import Any

import pytest

from poolmgr import Job
from poolmgr.breaker import Breaker
from poolmgr.execution import Submission
from poolmgr.testing.openstack import Fault
from tests.nova.pools import IPS, PATIENCE, SERVERS, Pool, Pools, error_of
from tests.polling import until

SERVER = "127.0.0.1:4730"
QUOTA = "Quota exceeded for instances: Requested 1, but already used 5 of 5"


class Switch:
    """What is wrong with a cloud as long as it is on."""

    def __init__(self) -> None:
        self.on = True

    def __call__(self, _call: object) -> bool:
        return self.on

    def fault(self, **rule: Any) -> Fault:
        """A fault that lasts so long."""
        return Fault(where=self, times=None, **rule)


def submit(pool: Pool, action: str, number: int) -> Submission:
    """A job that came from a job server."""
    job = Job(f"unique-{number}", f"H:host:{number}", SERVER)
    return pool.submit(action, job)


def results(jobs: list[Submission]) -> list[object]:
    return [job.future.result(PATIENCE).answer["response"] for job in jobs]


def patient(breaker: Breaker) -> Breaker:
    """Has its pauses so long that nothing goes on by itself."""
    breaker._first = breaker._longest = 3600.0
    return breaker


def full(switch: Switch) -> Fault:
    body = {"forbidden": {"code": 403, "message": QUOTA}}
    return switch.fault(method="POST", path=SERVERS, status=403, body=body)


# -- quota ------------------------------------------------------------------


def test_a_queue_of_builds_waits_for_room_and_short_jobs_do_not(
    pool: Pool,
) -> None:
    device, ip = pool.build(), pool.ip()
    patient(pool.manager.capacity.devices)
    switch = Switch()
    pool.fault(full(switch))
    first = submit(pool, "BUILD_DEVICE", 0)
    until(lambda: pool.manager.capacity.devices.open)
    asked = pool.posts()

    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(1, 100)]
    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])
    pool.passes("REMOVE_IP", ip=ip["ip"], name=device["name"])

    assert not any(job.future.done() for job in (first, *jobs))
    assert pool.posts() == asked
    switch.on = False
    pool.manager.capacity.devices.hint()
    assert results([first, *jobs]) == ["PASS"] * 100
    assert len(pool.cloud.servers) == 101
    assert not pool.manager.capacity.devices.open


def test_over_quota_few_calls_find_out_whether_there_is_room(
    pool: Pool,
) -> None:
    breaker = pool.manager.capacity.devices
    breaker._first = breaker._longest = 0.4
    switch = Switch()
    pool.fault(full(switch))
    jobs = [submit(pool, "BUILD_DEVICE", 0)]
    until(lambda: breaker.open)
    begun, asked = time.monotonic(), pool.posts()

    jobs += [submit(pool, "BUILD_DEVICE", n) for n in range(1, 50)]
    until(lambda: pool.posts() - asked >= 4)

    # A pause is 0.2 s at least, and fifty jobs wait.
    assert pool.posts() - asked <= (time.monotonic() - begun) / 0.2 + 1
    switch.on = False
    assert results(jobs) == ["PASS"] * 50


def test_what_is_deleted_makes_room_at_once(pools: Pools) -> None:
    pool = pools.new({"instances": 1, "floating_ips": 1})
    for name in ("devices", "ips"):
        patient(getattr(pool.manager.capacity, name))
    device, ip = pool.build(), pool.ip()
    waits = submit(pool, "BUILD_DEVICE", 1)
    pool.fails("BUILD_IP", "quota_exceeded")
    until(lambda: pool.manager.capacity.devices.open)

    pool.passes("DELETE_DEVICE", name=device["name"])
    pool.passes("DELETE_IP", ip=ip["ip"])

    assert results([waits]) == ["PASS"]
    pool.ip()


def test_who_builds_by_hand_is_told_at_once(pool: Pool) -> None:
    pool.fault(full(Switch()))

    assert QUOTA in pool.fails("BUILD_DEVICE", "quota_exceeded")


@pytest.mark.parametrize("wait", [0.0, 0.3])
def test_a_build_waits_as_long_as_it_is_told(
    pools: Pools, wait: float
) -> None:
    pool = pools.new(quota_wait=wait)
    patient(pool.manager.capacity.devices)
    pool.fault(full(Switch()))

    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(20)]
    errors = [error_of(job.future.result(PATIENCE).answer) for job in jobs]

    assert {error["code"] for error in errors} == {"quota_exceeded"}
    assert all(QUOTA in error["message"] for error in errors)
    if wait:
        assert pool.posts() <= 20


def test_addresses_over_quota_are_refused_without_a_call(
    pools: Pools,
) -> None:
    pool = pools.new({"floating_ips": 1})
    patient(pool.manager.capacity.ips)
    pool.ip()
    pool.fails("BUILD_IP", "quota_exceeded")
    asked = pool.posts(IPS)

    for _time in range(30):
        pool.fails("BUILD_IP", "quota_exceeded")

    assert pool.posts(IPS) == asked


# -- devices that fail ------------------------------------------------------


def test_a_queue_is_not_burnt_on_hosts_that_are_full(pool: Pool) -> None:
    patient(pool.manager.capacity.boots)
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
    pool.manager.capacity.boots.hint()
    assert results(jobs) == ["PASS"] * 45
    assert len(pool.cloud.servers) == 45


# -- a cloud that is down ---------------------------------------------------


@pytest.mark.parametrize("effect", [{"status": 503}, {"reset": True}])
def test_a_cloud_that_is_down_is_tried_by_few_calls_and_found_again(
    pools: Pools, effect: dict[str, Any]
) -> None:
    pool = pools.new(short_timeout=1.0)
    device, ip = pool.build(), pool.ip()
    switch = Switch()
    for service in ("compute", "network"):
        pool.fault(switch.fault(service=service, **effect))
    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(100)]
    until(lambda: any(b.open for b in pool.driver._api._breakers.values()))
    begun, asked = time.monotonic(), len(pool.cloud.calls)

    # A short job is answered in its time, and with the reason.
    reason = pool.fails(
        "ASSIGN_IP", "cloud_unavailable", ip=ip["ip"], name=device["name"]
    )
    assert "floatingips" in reason or "servers" in reason
    until(lambda: time.monotonic() - begun > 2.0)
    # Two services, reading and writing, two attempts each (one of them
    # urgent) in a pause of a quarter of a second at least.
    elapsed = time.monotonic() - begun
    assert len(pool.cloud.calls) - asked <= 4 * 2 * elapsed / 0.25 + 8
    switch.on = False

    assert results(jobs) == ["PASS"] * 100
    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])
    assert len(pool.cloud.servers) == 101


def test_a_service_that_is_down_does_not_stop_the_other(pool: Pool) -> None:
    pool.build()  # it knows the networks from now on
    switch = Switch()
    pool.fault(switch.fault(service="network", status=500))
    addresses = [submit(pool, "BUILD_IP", n) for n in range(20)]
    until(lambda: pool.driver._api._breakers["network", "reading"].open)

    names = [pool.build()["name"] for _time in range(5)]
    pool.passes("DELETE_DEVICE", name=names[0])

    switch.on = False
    assert results(addresses) == ["PASS"] * 20


def test_a_service_that_makes_nothing_is_still_read_and_deleted_from(
    pools: Pools,
) -> None:
    pool = pools.new(long_timeout=1.5)
    device = pool.build()
    switch = Switch()
    pool.fault(switch.fault(method="POST", path=SERVERS, status=500))
    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(20)]
    until(lambda: pool.driver._api._breakers["compute", "making"].open)

    pool.passes("DELETE_DEVICE", name=device["name"])

    assert results(jobs) == ["FAIL"] * 20
    assert not pool.driver._api._breakers["compute", "changing"].open


# -- a cloud that is slow ---------------------------------------------------


def test_short_jobs_are_answered_while_a_slow_cloud_is_asked_to_build(
    pools: Pools,
) -> None:
    pool = pools.new({"boot_time": 0.1}, {"calls_at_once": 4})
    device, ip = pool.build(), pool.ip()
    pool.fault(
        Fault(method="POST", path=SERVERS, times=None, hang=1.0),
    )
    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(30)]
    until(lambda: pool.posts() >= 4)

    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])
    pool.passes("REMOVE_IP", ip=ip["ip"], name=device["name"])
    pool.passes("DELETE_DEVICE", name=device["name"])

    # They did not wait for the builds before them.
    assert sum(job.future.done() for job in jobs) < 30
    assert results(jobs) == ["PASS"] * 30
