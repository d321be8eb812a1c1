"""Tests of devices that each have their own floating IP."""

from typing import Any
from uuid import uuid4

import pytest

from poolmgr import Job, PoolManager
from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.clouds import nova_on, openstack_on
from tests.nova.pools import IPS, ONE_IP, Pools, error_of, fault_id

OWN = {"device_floating_ip": True}


def test_a_device_has_its_own_floating_ip_until_it_is_deleted(
    pools: Pools,
) -> None:
    pool = pools.new(nova=OWN)

    answer = pool.build()

    assert answer["addr"] == pool.only_ip()["floating_ip_address"]
    assert pool.device_of({"ip": answer["addr"]}) == answer["name"]
    pool.passes("DELETE_DEVICE", name=answer["name"])
    assert not pool.cloud.servers
    assert not pool.cloud.floating_ips


@pytest.mark.parametrize("kind", ["best", "floating"])
def test_the_own_floating_ip_is_answered_for_any_address_type(
    kind: str,
) -> None:
    with (
        LoopbackCloud() as cloud,
        nova_on(cloud, device_floating_ip=True, address_type=kind) as driver,
    ):
        answer = PoolManager(driver).execute("BUILD_DEVICE")

        (ip,) = cloud.floating_ips
        assert answer["addr"] == ip["floating_ip_address"]


def test_the_own_floating_ip_is_released_after_the_option_is_turned_off() -> (
    None
):
    with LoopbackCloud() as cloud:
        with nova_on(cloud, device_floating_ip=True) as driver:
            device = PoolManager(driver).execute("BUILD_DEVICE")
        with nova_on(cloud) as driver:
            PoolManager(driver).execute("DELETE_DEVICE", name=device["name"])

        assert cloud.servers == []
        assert cloud.floating_ips == []


def test_floating_ips_are_not_listed_without_device_floating_ip() -> None:
    with (
        LoopbackCloud() as cloud,
        nova_on(cloud, device_floating_ip=False) as driver,
    ):
        manager = PoolManager(driver)
        device = manager.execute("BUILD_DEVICE")
        manager.execute("DELETE_DEVICE", name=device["name"])

        assert not cloud.count(path="/floatingips")


def test_own_floating_ips_need_an_external_network() -> None:
    with (
        LoopbackCloud(external_networks=()) as cloud,
        openstack_on(
            cloud, floating_network=None, device_floating_ip=True
        ) as openstack,
    ):
        (wrong,) = [f for f in openstack.check() if f.problem]

    assert wrong.setting == "floating_network"


@pytest.mark.parametrize(
    "fault",
    [
        Fault.lost_floating_ip(),
        Fault(method="PUT", path=ONE_IP, reset=True, after=True),
        Fault(method="PUT", path=ONE_IP, status=500),
        Fault(method="PUT", path=ONE_IP, status=412),
        Fault(method="POST", path=IPS, reset=True, after=True),
        Fault(method="POST", path=IPS, status=500),
    ],
    ids=fault_id,
)
def test_the_own_floating_ip_is_attached_despite_one_failure(
    pools: Pools, fault: Fault
) -> None:
    pool = pools.new(nova=OWN)
    pool.fault(fault)

    answer = pool.build()

    assert answer["addr"] == pool.only_ip()["floating_ip_address"]
    assert pool.device_of({"ip": answer["addr"]}) == answer["name"]


def test_the_own_floating_ip_is_told_from_one_of_the_same_address(
    pools: Pools,
) -> None:
    """External networks may use the same range of addresses."""
    pool = pools.new(nova=OWN)

    def with_another(answer: dict[str, Any]) -> dict[str, Any]:
        foreign = {"id": str(uuid4()), "port_id": None, "port_details": None}
        own = answer["floatingips"]
        return {"floatingips": [*({**e, **foreign} for e in own), *own]}

    pool.fault(Fault("GET", IPS, change=with_another, times=None))

    answer = pool.build()

    assert pool.device_of({"ip": answer["addr"]}) == answer["name"]


def test_a_build_fails_if_its_floating_ip_is_never_attached(
    pools: Pools,
) -> None:
    pool = pools.new(nova=OWN, long_timeout=2.0)
    pool.fault(Fault.lost_floating_ip(times=None))

    pool.fails("BUILD_DEVICE", "deadline")

    assert not pool.cloud.servers
    assert not pool.cloud.floating_ips


def test_a_failed_build_releases_its_floating_ip(pools: Pools) -> None:
    pool = pools.new(nova=OWN, long_timeout=2.0)
    fault = Fault(method="POST", path=".*/metadata", status=500, times=None)
    pool.fault(fault)

    answer = pool.run("BUILD_DEVICE")

    assert error_of(answer)["code"] in ("cloud_unavailable", "deadline")
    assert pool.posts(IPS) == 1
    assert not pool.cloud.servers
    assert not pool.cloud.floating_ips


def test_a_build_fails_if_the_floating_ip_quota_is_used_up(
    pools: Pools,
) -> None:
    pool = pools.new({"floating_ips": 0}, OWN)

    pool.fails("BUILD_DEVICE", "quota_exceeded")

    assert not pool.cloud.servers


def test_a_redelivered_build_takes_over_the_own_floating_ip(
    pools: Pools,
) -> None:
    cloud = pools.cloud()
    first, second = pools.new(cloud, OWN), pools.new(cloud, OWN)
    job = Job("unique", "H:host:1", "127.0.0.1:4730")
    answer = first.run_disconnected("BUILD_DEVICE", job)
    assert answer["name"] == first.only_server()["name"]

    again = second.passes("BUILD_DEVICE", Job("unique", "H:host:7"))

    assert (again["name"], again["addr"]) == (answer["name"], answer["addr"])
    assert second.only_ip()["floating_ip_address"] == again["addr"]
    assert second.only_server()["name"] == again["name"]
