"""A cloud that is down or slow is left in peace, and found again."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.jobservers import free_port
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
from tests.nova.trouble import (
    MOST_CREATIONS,
    RETRIES_ON_HINT,
    Switch,
    results,
    submit,
)
from tests.polling import until

# -- a cloud that is down -----------------------------------------------------


@pytest.mark.parametrize("effect", [{"status": 503}, {"reset": True}])
def test_a_cloud_that_is_down_is_tried_by_few_calls_and_found_again(
    pool: Pool, effect: dict[str, Any]
) -> None:
    device, ip = pool.build(), pool.ip()
    pool.adopt(short_timeout=1.0)
    switch = Switch()
    for service in ("compute", "network"):
        pool.fault(switch.fault(service=service, **effect))
    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(100)]
    until(lambda: any(b.open for b in pool.circuits.calls.values()))
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
    pool.adopt(short_timeout=TIMEOUT)
    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])
    assert len(pool.cloud.servers) == 101


class Refuser:
    """Closes every connection at once, and counts them."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self._socket = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _address = self._socket.accept()
            except OSError:
                return
            self.count += 1
            connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(TIMEOUT)


@contextmanager
def refusing(port: int) -> Iterator[Refuser]:
    """A port that something listens on that does not serve."""
    refuser = Refuser(port)
    try:
        yield refuser
    finally:
        refuser.close()


@pytest.mark.parametrize("listens", [True, False])
def test_a_cloud_that_cannot_be_reached_is_tried_seldom_and_found_again(
    pools: Pools, listens: bool
) -> None:
    port = free_port()
    cloud = pools.cloud(port=port)
    pool = pools.new(cloud, long_timeout=120.0)
    pool.build()
    pool.ip()
    pool.adopt(short_timeout=2.0)
    cloud.close()
    if listens:
        with refusing(port) as refuser:
            jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(100)]
            until(lambda: pool.stuck)
            begun, tried = time.monotonic(), refuser.count
            error = error_of(pool.run("BUILD_IP"))
            until(lambda: time.monotonic() - begun > 4.0)
            # Reading and making, a pause of a quarter of a second at least,
            # and one that is urgent besides; and the login of each.
            elapsed = time.monotonic() - begun
            assert refuser.count - tried <= 8 * (elapsed / 0.25 + 2)
    else:
        jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(100)]
        until(lambda: pool.stuck)
        error = error_of(pool.run("BUILD_IP"))
        assert "Connection refused" in error["message"]

    assert error["code"] == "cloud_unavailable"
    with LoopbackCloud(port=port, boot_time=0.05) as back:
        assert results(jobs) == ["PASS"] * 100
        assert len(back.servers) == 100


def test_calls_at_the_gate_are_not_made_once_the_service_fails(
    pools: Pools,
) -> None:
    nova = {"calls_at_once": 4}
    pool = pools.new({"latency": 0.05}, nova, pace=RETRIES_ON_HINT)
    pool.build()
    breaker = pool.breaker("making compute")
    switch = Switch()
    pool.fault(switch.fault(method="POST", path=SERVERS, status=503))
    asked = pool.posts()

    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(100)]
    until(lambda: breaker.waiting >= MOST_CREATIONS - 5)

    # Three may be under way when the fifth fails.
    assert pool.posts() - asked <= 5 + 3
    switch.on = False
    pool.hint(breaker)
    assert results(jobs) == ["PASS"] * 100


def test_a_job_is_told_why_nothing_could_be_made_for_it(
    pool: Pool,
) -> None:
    pool.ip()
    pool.adopt(short_timeout=8.0)  # all have asked by then
    pool.fault(Fault(method="POST", path=IPS, status=500, times=None))

    jobs = [submit(pool, "BUILD_IP", n) for n in range(40)]
    errors = [error_of(job.future.result(TIMEOUT).answer) for job in jobs]

    assert {error["code"] for error in errors} == {"cloud_unavailable"}
    assert not any("not done within" in error["message"] for error in errors)


def test_a_worker_knows_when_a_build_would_only_wait(pool: Pool) -> None:
    pool.build()
    assert not pool.stuck
    switch = Switch()
    pool.fault(switch.fault(service="compute", status=503))

    jobs = [submit(pool, "BUILD_DEVICE", n) for n in range(3)]
    until(lambda: pool.stuck)

    switch.on = False
    assert results(jobs) == ["PASS"] * 3
    assert not pool.stuck


def test_a_server_in_the_middle_of_something_is_no_sign_of_trouble(
    pools: Pools,
) -> None:
    pool = pools.new(short_timeout=1.0)
    names = [pool.build()["name"] for _each in range(8)]
    pool.fault(Fault(method="DELETE", path=ONE_SERVER, status=409, times=None))

    for name in names:
        pool.fails("DELETE_DEVICE", "cloud_unavailable", name=name)

    assert not pool.stuck


# -- what is down in part -----------------------------------------------------


def test_a_service_that_is_down_does_not_stop_the_other(pool: Pool) -> None:
    pool.build()  # it knows the networks from now on
    switch = Switch()
    pool.fault(switch.fault(service="network", status=500))
    addresses = [submit(pool, "BUILD_IP", n) for n in range(20)]
    until(lambda: pool.circuits.calls["reading network"].open)

    names = [pool.build()["name"] for _time in range(5)]
    pool.passes("DELETE_DEVICE", name=names[0])

    switch.on = False
    assert results(addresses) == ["PASS"] * 20


def test_a_service_that_makes_nothing_is_still_read_and_deleted_from(
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


def test_what_was_made_is_finished_while_no_more_can_be_made(
    pools: Pools,
) -> None:
    pool = pools.new(
        {"boot_time": 1.0}, pace=RETRIES_ON_HINT, long_timeout=60.0
    )
    pool.build()
    breaker = pool.breaker("making compute")
    made = [submit(pool, "BUILD_DEVICE", n) for n in range(5)]
    until(lambda: len(pool.cloud.servers) == 6)
    switch = Switch()
    pool.fault(switch.fault(method="POST", path=SERVERS, status=500))
    late = [submit(pool, "BUILD_DEVICE", n) for n in range(5, 25)]
    until(lambda: breaker.open)

    # They are still to be marked as handed over.
    assert results(made) == ["PASS"] * 5
    assert not any(job.future.done() for job in late)
    switch.on = False
    pool.hint(breaker)
    assert results(late) == ["PASS"] * 20


def test_a_device_is_deleted_although_no_list_can_be_had(
    pools: Pools,
) -> None:
    pool = pools.new(pace=RETRIES_ON_HINT)
    name = str(pool.build()["name"])
    (device,) = pool.openstack.find_devices(name)
    reading = pool.breaker("reading compute")
    pool.fault(Fault(method="GET", path=DETAILS, status=500, times=None))
    pool.blame(reading)

    pool.openstack.delete_device(device)

    assert not pool.cloud.servers
    assert reading.open


# -- a cloud that is slow -----------------------------------------------------


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


def test_a_call_that_hangs_does_not_keep_the_cloud_from_being_found_again(
    pools: Pools,
) -> None:
    pool = pools.new(nova={"call_timeout": 60.0}, long_timeout=60.0)
    pool.build()
    breaker = pool.breaker("reading compute")
    pool.blame(breaker)
    pool.fault(Fault(service="compute", method="GET", hang=10.0))
    before = pool.cloud.count("GET", "compute")
    hangs = submit(pool, "BUILD_DEVICE", 0)
    until(lambda: pool.cloud.count("GET", "compute") > before)

    # Another call finds out that all is well.
    pool.build()

    assert not hangs.future.done()
    assert not breaker.open
    assert results([hangs]) == ["PASS"]
