"""An observer is told of every call of the cloud, logins included."""

from collections import Counter

import pytest

from poolmgr.events import CloudCall, Observer
from poolmgr.testing.openstack import Fault
from tests.nova.pools import IPS, Pool, Pools
from tests.polling import until


class Kept(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[CloudCall] = []

    def cloud_called(self, call: CloudCall) -> None:
        self.calls.append(call)

    def counted(self) -> Counter[tuple[str, str, int | None]]:
        """How often what was answered how."""
        return Counter((c.service, c.method, c.status) for c in self.calls)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def pool(pools: Pools, kept: Kept) -> Pool:
    """A pool whose calls are told."""
    return pools.new(observer=kept)


def test_each_call_is_told_once(pool: Pool, kept: Kept) -> None:
    before = len(pool.cloud.calls)
    device, ip = pool.build(), pool.ip()
    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])

    made = Counter(
        (call.service, call.method, call.status)
        for call in pool.cloud.calls[before:]
        if call.service in ("compute", "network", "image") and call.path != "/"
    )
    told = kept.counted()
    del told["identity", "POST", 201]
    assert told == made
    assert all(0 < call.seconds < 30 for call in kept.calls)


def test_a_login_is_told(pool: Pool, kept: Kept) -> None:
    pool.ip()
    kept.calls.clear()
    pool.cloud.expire_tokens()
    pool.ip()

    assert kept.counted()["identity", "POST", 201] == 1


def test_a_keystone_that_is_down_is_told(pool: Pool, kept: Kept) -> None:
    pool.ip()
    kept.calls.clear()
    pool.cloud.expire_tokens()
    pool.fault(Fault(service="identity", method="POST", status=503, times=1))
    pool.ip()

    counted = kept.counted()
    assert counted["identity", "POST", 503] == 1
    assert counted["identity", "POST", 201] == 1


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault(method="POST", path=IPS, reset=True, times=1), None),
        (Fault(method="POST", path=IPS, truncate=True, times=1), None),
        (Fault(method="POST", path=IPS, status=502, times=1), 502),
        (Fault(method="POST", path=IPS, status=403, times=1), 403),
    ],
)
def test_what_fails_is_told_as_it_failed(
    pool: Pool, kept: Kept, fault: Fault, status: int | None
) -> None:
    pool.fault(fault)
    pool.run("BUILD_IP")

    assert kept.counted()["network", "POST", status] == 1
    (call,) = (
        c
        for c in kept.calls
        if (c.service, c.status) == ("network", status) and c.method == "POST"
    )
    assert call.is_answer == (status == 403)


def test_a_driver_tells_what_it_holds_back(pools: Pools) -> None:
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
