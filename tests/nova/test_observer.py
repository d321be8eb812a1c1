"""Tests of the events of cloud calls, which an observer receives."""

from collections import Counter

import pytest

from poolmgr.events import CloudCall, Observer
from poolmgr.testing.openstack import Fault
from tests.nova.pools import IPS, Pool, Pools
from tests.polling import until


class Recorder(Observer):
    """Records the calls that are reported."""

    def __init__(self) -> None:
        self.calls: list[CloudCall] = []

    def cloud_called(self, call: CloudCall) -> None:
        self.calls.append(call)

    def count(self) -> Counter[tuple[str, str, int | None]]:
        """Count the calls by service, method and status."""
        return Counter((c.service, c.method, c.status) for c in self.calls)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def pool(pools: Pools, recorder: Recorder) -> Pool:
    """Return a pool whose calls are recorded."""
    return pools.new(observer=recorder)


def test_each_call_is_reported_once(pool: Pool, recorder: Recorder) -> None:
    before = len(pool.cloud.calls)
    device, ip = pool.build(), pool.build_ip()
    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])

    called = Counter(
        (call.service, call.method, call.status)
        for call in pool.cloud.calls[before:]
        if call.service in ("compute", "network", "image") and call.path != "/"
    )
    reported = recorder.count()
    del reported["identity", "POST", 201]
    assert reported == called
    assert all(0 < call.seconds < 30 for call in recorder.calls)


@pytest.mark.parametrize("failures", [0, 1])
def test_each_login_attempt_is_reported(
    pool: Pool, recorder: Recorder, failures: int
) -> None:
    pool.build_ip()
    recorder.calls.clear()
    pool.cloud.expire_tokens()
    fault = Fault(service="identity", method="POST", status=503, times=1)
    pool.fault(*[fault] * failures)
    pool.build_ip()

    counts = recorder.count()
    assert counts["identity", "POST", 503] == failures
    assert counts["identity", "POST", 201] == 1


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault(method="POST", path=IPS, reset=True, times=1), None),
        (Fault(method="POST", path=IPS, truncate=True, times=1), None),
        (Fault(method="POST", path=IPS, status=502, times=1), 502),
        (Fault(method="POST", path=IPS, status=403, times=1), 403),
    ],
)
def test_a_failed_call_is_reported_with_its_status(
    pool: Pool, recorder: Recorder, fault: Fault, status: int | None
) -> None:
    pool.fault(fault)
    pool.run("BUILD_IP")

    assert recorder.count()["network", "POST", status] == 1
    (call,) = (
        c
        for c in recorder.calls
        if (c.service, c.status) == ("network", status) and c.method == "POST"
    )
    assert call.is_answer == (status == 403)


def test_the_driver_exposes_its_open_circuit_breakers(pools: Pools) -> None:
    pool = pools.new(short_timeout=1.0)
    names = {f"{kind} compute" for kind in ("reading", "changing", "making")}
    assert names <= pool.circuits.calls.keys()

    pool.fault(Fault(service="network", method="GET", status=503, times=None))

    def is_open() -> bool:
        pool.run("DELETE_IP", ip="192.0.2.1")
        return pool.circuits.calls["reading network"].open

    until(is_open)

    state = pool.openstack.cloud
    assert not state.circuits.calls["reading compute"].open
    assert (state.poller.waiting, state.poller.age) == (0, 0.0)
