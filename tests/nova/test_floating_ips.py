"""Tests of BUILD_IP and DELETE_IP."""

import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from poolmgr import Job
from poolmgr.drivers.nova import servers
from poolmgr.reaper.inventory import list_everything
from poolmgr.testing.openstack import Call, Fault
from poolmgr.testing.openstack.port import FloatingIP
from tests.nova.pools import (
    DEVICE_NAME,
    IPS,
    ONE_IP,
    Pool,
    Pools,
    error_of,
    fault_id,
)
from tests.polling import until


def test_build_ip_makes_two_changing_requests(pool: Pool) -> None:
    answer = pool.build_ip()

    entry = pool.only_ip()
    assert answer == {
        "action": "BUILD_IP",
        "response": "PASS",
        "id": entry["id"],
        "ip": entry["floating_ip_address"],
    }
    assert pool.posts(IPS) == 1
    assert pool.cloud.count("PUT") == 1
    assert entry["description"].startswith("poolmgr pool=libra unique=")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(reset=True),
        Fault(status=500),
        Fault(status=503, retry_after=0.2),
        Fault(html=True),
        Fault(status=200, body={}),
        Fault(hang=9.0),
    ],
    ids=fault_id,
)
def test_a_lost_allocation_request_or_answer_leaves_one_floating_ip(
    pools: Pools, fault: Fault, after: bool
) -> None:
    pool = pools.new(nova={"call_timeout": 1.0})
    pool.fault(replace(fault, method="POST", path=IPS, after=after))

    answer = pool.build_ip()

    assert pool.only_ip()["id"] == answer["id"]
    assert pool.posts(IPS) == (1 if after else 2)


def test_a_truncated_allocation_answer_leaves_one_floating_ip(
    pool: Pool,
) -> None:
    pool.fault(Fault(method="POST", path=IPS, truncate=True))

    assert pool.build_ip()["ip"] == pool.only_ip()["floating_ip_address"]
    assert pool.posts(IPS) == 1


@pytest.mark.parametrize("unique", ["", "unique"])
def test_a_floating_ip_of_unknown_outcome_is_released(
    pools: Pools, unique: str
) -> None:
    # Neutron allocates the floating IP, and its lists fail until the
    # deadline.
    pool = pools.new(short_timeout=3.0)
    down_since: list[float] = []

    def are_lists_down(_call: Call) -> bool:
        if pool.cloud.floating_ips:
            down_since.append(time.monotonic())
        return bool(down_since) and time.monotonic() - down_since[0] < 3.5

    pool.fault(
        Fault(method="POST", path=IPS, reset=True, after=True),
        Fault(
            method="GET",
            path=IPS,
            status=500,
            where=are_lists_down,
            times=None,
        ),
    )

    answer = pool.run("BUILD_IP", Job(unique, "H:host:1"))

    assert error_of(answer)["code"] in ("cloud_unavailable", "deadline")
    assert pool.posts(IPS) == 1
    until(lambda: not pool.cloud.floating_ips)


@pytest.mark.parametrize(
    "cloud", [{"floating_ips": 1}, {"floating_range": "198.18.0.0/30"}]
)
def test_an_exhausted_quota_or_range_is_quota_exceeded(
    pools: Pools, cloud: dict[str, object]
) -> None:
    pool = pools.new(cloud)
    pool.build_ip()

    pool.fails("BUILD_IP", "quota_exceeded")

    assert pool.posts(IPS) == 2


@pytest.mark.parametrize(
    ("networks", "configured", "problem"),
    [
        ((), None, "there are no external networks"),
        (
            ("a", "b"),
            None,
            "it is not set; there are 2 external networks: 'a' (",
        ),
        (("a",), "public", "'public' not found among the external"),
    ],
)
def test_a_missing_or_ambiguous_external_network_is_explained(
    pools: Pools,
    networks: tuple[str, ...],
    configured: str | None,
    problem: str,
) -> None:
    pool = pools.new(
        {"external_networks": networks}, {"floating_network": configured}
    )

    reason = pool.fails("BUILD_IP", "cloud_refused")

    assert "floating_network" in reason
    assert problem in reason
    assert pool.posts(IPS) == 0


def test_the_configured_external_network_is_used(
    pools: Pools,
) -> None:
    pool = pools.new(
        {"external_networks": ("a", "b")}, {"floating_network": "b"}
    )

    pool.build_ip()

    assert pool.only_ip()["floating_network_id"] == pool.cloud.ids["b"]


def test_build_ip_is_repeated_if_its_external_network_was_replaced(
    pool: Pool,
) -> None:
    def as_before(answer: dict[str, Any]) -> dict[str, Any]:
        replaced = [{**n, "id": str(uuid4())} for n in answer["networks"]]
        return {**answer, "networks": replaced}

    pool.fault(Fault("GET", "/networks", change=as_before))

    pool.build_ip()

    assert pool.posts(IPS) == 2
    assert pool.only_ip()["floating_network_id"] == pool.cloud.ids["public"]


def test_the_only_external_network_is_the_default(pools: Pools) -> None:
    pools.new(nova={"floating_network": None}).build_ip()


# -- DELETE_IP --------------------------------------------------------------


def test_delete_ip_releases_an_attached_floating_ip(pool: Pool) -> None:
    ip = pool.build_ip(pool.build())

    answer = pool.passes("DELETE_IP", ip=ip["ip"])

    assert answer == {
        "action": "DELETE_IP",
        "ip": ip["ip"],
        "response": "PASS",
    }
    assert not pool.cloud.floating_ips
    assert len(pool.cloud.servers) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=500, after=True),
        Fault(reset=True),
        Fault(reset=True, after=True),
        Fault(status=429, retry_after=0.2),
        Fault(status=404, after=True),
    ],
    ids=fault_id,
)
def test_a_failed_release_is_retried(pool: Pool, fault: Fault) -> None:
    ip = pool.build_ip()
    pool.fault(replace(fault, method="DELETE", path=ONE_IP))

    pool.passes("DELETE_IP", ip=ip["ip"])

    assert not pool.cloud.floating_ips


def test_delete_ip_fails_if_the_floating_ip_remains(pool: Pool) -> None:
    ip = pool.build_ip()
    pool.fault(Fault(method="DELETE", path=ONE_IP, status=500, times=None))
    pool.adopt(short_timeout=0.5)

    error = error_of(pool.run("DELETE_IP", ip=ip["ip"]))

    assert error["code"] in ("cloud_unavailable", "deadline")
    assert pool.only_ip()["id"] == ip["id"]


def test_delete_ip_of_a_missing_floating_ip_fails(pool: Pool) -> None:
    pool.fails("DELETE_IP", "not_found", ip="198.18.0.77")

    assert pool.cloud.count("DELETE") == 0


@pytest.mark.parametrize(
    ("name", "code"), [("web-1", "not_owned"), (DEVICE_NAME, None)]
)
def test_an_unmarked_floating_ip_is_owned_like_its_device(
    pool: Pool, name: str, code: str | None
) -> None:
    server = pool.create_foreign_server(name)
    ip = pool.create_foreign_ip(port_id=pool.port_of(server))

    if code is None:
        pool.passes("DELETE_IP", ip=ip["ip"])
    else:
        pool.fails("DELETE_IP", code, ip=ip["ip"])

    assert bool(pool.cloud.floating_ips) is (code is not None)
    assert len(pool.cloud.servers) == 1


@pytest.mark.parametrize("ip", ["", "300.1.1.1", "198.18.0.2/../..", "::1%lo"])
def test_an_invalid_ip_is_refused_without_a_request(
    pool: Pool, ip: str
) -> None:
    for action in ("DELETE_IP", "ASSIGN_IP", "REMOVE_IP"):
        pool.fails(action, "invalid_field", ip=ip, name=DEVICE_NAME)

    assert not pool.cloud.calls


@pytest.mark.parametrize("details", [{}, {"port_details": None}], ids=str)
def test_attached_devices_are_found_without_port_details(
    pools: Pools,
    monkeypatch: pytest.MonkeyPatch,
    details: dict[str, object],
) -> None:
    # A Neutron without "fip-port-details": the driver lists the ports by id,
    # BATCH in each request.
    original = FloatingIP.shown

    def without_details(ip: FloatingIP) -> dict[str, object]:
        entry = original(ip)
        known = {k: v for k, v in entry.items() if k != "port_details"}
        return {**known, **details}

    monkeypatch.setattr(FloatingIP, "shown", without_details)
    monkeypatch.setattr(servers, "BATCH", 3)
    pool = pools.new()
    devices = [pool.build() for _each in range(5)]
    ips = [pool.build_ip(device) for device in devices]

    found = {ip.address: ip.device_id for ip in pool.openstack.list_ips()}

    ids = {server["name"]: server["id"] for server in pool.cloud.servers}
    assert found == {
        ip["ip"]: ids[device["name"]]
        for ip, device in zip(ips, devices, strict=True)
    }
    batches = [
        call.query["id"].split(",")
        for call in pool.calls("GET", "/ports")
        if "id" in call.query
    ]
    assert max(map(len, batches)) == 3


def test_a_cloud_without_routers_has_no_floating_ips(
    pools: Pools,
) -> None:
    cloud = pools.cloud(routers=False, external_networks=())
    pool = pools.new(cloud, nova={"floating_network": None})
    device = pool.build()
    ownership = pool.manager.settings.ownership

    (item,), ips = pool.openstack.wait(
        list_everything(pool.openstack.cloud, ownership)
    )

    assert (item.name, ips) == (device["name"], [])
    assert not [f for f in pool.openstack.check() if f.problem]
    pool.fails("BUILD_IP", "cloud_refused")
    pool.fails("DELETE_IP", "not_found", ip="198.18.0.7")
    pool.passes("DELETE_DEVICE", name=device["name"])


@pytest.mark.parametrize("device_floating_ip", [False, True])
def test_build_ip_reads_only_unattached_floating_ips(
    pools: Pools, device_floating_ip: bool
) -> None:
    cloud = pools.cloud()
    others = pools.new(cloud)
    pool = pools.new(cloud, nova={"device_floating_ip": device_floating_ip})
    attached = {
        str(others.build_ip(others.build())["id"]) for _each in range(3)
    }
    until(
        lambda: all(
            ip["status"] == "ACTIVE"
            for ip in cloud.floating_ips
            if ip["id"] in attached
        )
    )
    read: set[str] = set()

    def record(answer: dict[str, Any]) -> dict[str, Any]:
        read.update(ip["id"] for ip in answer["floatingips"])
        return answer

    cloud.fault(Fault(method="GET", path=IPS, change=record, times=None))

    device, ip = pool.build(), pool.build_ip()
    pool.passes("DELETE_IP", ip=ip["ip"])
    pool.passes("DELETE_DEVICE", name=device["name"])

    assert not attached & read
    assert {str(ip["id"]) for ip in cloud.floating_ips} == attached
