"""Which address BUILD_DEVICE answers."""

import ipaddress
from typing import Any

import pytest

from poolmgr import Job
from poolmgr.testing.openstack import Fault
from tests.nova.pools import (
    IPS,
    ONE_IP,
    Pool,
    Pools,
    error_of,
)
from tests.polling import until

V6 = "2001:db8::/64"


@pytest.mark.parametrize(
    ("cloud", "nova", "within"),
    [
        (
            {"private_range": None, "private_range_v6": V6},
            {"address_version": "6"},
            V6,
        ),
        ({"private_range_v6": V6}, {}, "10.20.0.0/16"),
        ({"private_range_v6": V6}, {"address_version": "6"}, V6),
        ({}, {"address_type": "fixed"}, "10.20.0.0/16"),
        ({"private_range": "203.0.113.0/24"}, {}, "203.0.113.0/24"),
        ({"private_range": "172.16.0.0/16"}, {}, "172.16.0.0/16"),
    ],
)
def test_the_address_is_of_the_version_and_type_asked_for(
    pools: Pools, cloud: dict[str, Any], nova: dict[str, Any], within: str
) -> None:
    answer = pools.new(cloud, nova).build()

    address = ipaddress.ip_address(str(answer["addr"]))
    assert address in ipaddress.ip_network(within)


def test_the_address_is_of_the_network_asked_for(pools: Pools) -> None:
    nova = {
        "networks": ("isolated", "private"),
        "address_network": "private",
    }
    pool = pools.new(nova=nova)

    answer = pool.build()

    shown = pool.only_server()["addresses"]
    assert answer["addr"] == shown["private"][0]["addr"]


def test_a_version_that_never_comes_is_no_address(pools: Pools) -> None:
    pool = pools.new(nova={"address_version": "6"}, long_timeout=0.4)

    reason = pool.fails("BUILD_DEVICE", "deadline")

    assert "without an address" in reason
    assert not pool.cloud.servers


def test_a_floating_address_is_waited_for(pools: Pools) -> None:
    pool = pools.new(nova={"address_type": "floating"})
    job = pool.submit("BUILD_DEVICE")
    until(lambda: pool.cloud.ports)
    port = pool.cloud.ports[0]["id"]

    ip = pool.someones_ip(port_id=port)

    assert job.future.result().answer["addr"] == ip["ip"]


# -- a floating IP of its own -----------------------------------------------


OWN = {"device_floating_ip": True}


def test_a_device_gets_its_own_floating_ip_and_takes_it_along(
    pools: Pools,
) -> None:
    pool = pools.new(nova=OWN)

    answer = pool.build()

    assert answer["addr"] == pool.only_ip()["floating_ip_address"]
    assert pool.device_of({"ip": answer["addr"]}) == answer["name"]
    pool.passes("DELETE_DEVICE", name=answer["name"])
    assert not pool.cloud.servers
    assert not pool.cloud.floating_ips


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
)
def test_its_own_floating_ip_is_on_it_whatever_fails_once(
    pools: Pools, fault: Fault
) -> None:
    pool = pools.new(nova=OWN)
    pool.fault(fault)

    answer = pool.build()

    assert answer["addr"] == pool.only_ip()["floating_ip_address"]
    assert pool.device_of({"ip": answer["addr"]}) == answer["name"]


def test_its_own_floating_ip_that_is_never_on_it_fails_the_build(
    pools: Pools,
) -> None:
    pool = pools.new(nova=OWN, long_timeout=0.8)
    pool.fault(Fault.lost_floating_ip(times=None))

    pool.fails("BUILD_DEVICE", "deadline")

    assert not pool.cloud.servers
    assert not pool.cloud.floating_ips


def test_a_failed_build_gives_its_own_floating_ip_back(pools: Pools) -> None:
    pool = pools.new(nova=OWN, long_timeout=0.8)
    fault = Fault(method="POST", path=".*/metadata", status=500, times=None)
    pool.fault(fault)

    answer = pool.run("BUILD_DEVICE")

    assert error_of(answer)["code"] in ("cloud_unavailable", "deadline")
    assert pool.posts(IPS) == 1
    assert not pool.cloud.servers
    assert not pool.cloud.floating_ips


def test_a_spent_quota_of_floating_ips_fails_the_build(pools: Pools) -> None:
    pool = pools.new({"floating_ips": 0}, OWN)

    pool.fails("BUILD_DEVICE", "quota_exceeded")

    assert not pool.cloud.servers


def test_a_later_delivery_takes_over_the_floating_ip_too(
    pools: Pools,
) -> None:
    cloud = pools.cloud()
    first, second = pools.new(cloud, OWN), pools.new(cloud, OWN)
    job = Job("unique", "H:host:1", "127.0.0.1:4730")
    answer = _forsaken(first, job)
    assert answer["name"] == first.only_server()["name"]

    again = second.passes("BUILD_DEVICE", Job("unique", "H:host:7"))

    assert (again["name"], again["addr"]) == (answer["name"], answer["addr"])
    assert second.only_ip()["floating_ip_address"] == again["addr"]
    assert second.only_server()["name"] == again["name"]


def _forsaken(pool: Pool, job: Job) -> dict[str, Any]:
    """The answer of a job that nobody waits for any more."""
    submission = pool.submit("BUILD_DEVICE", job)
    submission.forsake()
    return dict(submission.future.result().answer)
