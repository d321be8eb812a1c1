"""Tests of answers that contradict each other about what exists."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from poolmgr.ownership import Job, Mark
from poolmgr.testing.openstack import Fate, Fault
from tests.nova.pools import (
    DETAILS,
    FAST,
    IPS,
    OLD,
    ONE_IP,
    ONE_SERVER,
    Pool,
    Pools,
    error_of,
)

Json = dict[str, Any]
NOT_FOUND = {"itemNotFound": {"code": 404, "message": "could not be found."}}


def not_found(method: str, path: str = ONE_SERVER, **rule: Any) -> Fault:
    """Return Nova's 404, for all requests by default."""
    return Fault(
        **{
            "method": method,
            "path": path,
            "status": 404,
            "body": NOT_FOUND,
            "times": None,
            **rule,
        }
    )


def empty_list(path: str, times: int | None, **rule: Any) -> Fault:
    """Return a fault that makes lists empty."""
    key = {DETAILS: "servers", IPS: "floatingips", "/ports": "ports"}[path]
    return Fault(
        **{
            "method": "GET",
            "path": path,
            "change": lambda _answer: {key: []},
            "times": times,
            **rule,
        }
    )


@pytest.mark.parametrize("methods", [("DELETE",), ("DELETE", "GET")])
def test_a_listed_device_answered_with_404_does_not_count_as_deleted(
    pool: Pool, methods: tuple[str, ...]
) -> None:
    device = pool.build()
    pool.fault(*(not_found(method) for method in methods))

    reason = pool.fails(
        "DELETE_DEVICE", "cloud_unavailable", name=device["name"]
    )

    assert "does not exist, but still" in reason
    assert "still shows it" in reason
    assert pool.only_server()["name"] == device["name"]


def test_a_device_of_a_cell_that_is_down_does_not_count_as_deleted(
    pools: Pools,
) -> None:
    pool = pools.new()
    device = pool.build()
    pool.adopt(short_timeout=2.0)

    def without_cell(answer: Json) -> Json:
        known = {k: answer["server"][k] for k in ("id", "created", "links")}
        return {"server": {**known, "status": "UNKNOWN"}}

    pool.fault(
        Fault(
            method="DELETE", path=ONE_SERVER, fate=Fate(lost=True), times=None
        ),
        Fault(method="GET", path=ONE_SERVER, change=without_cell, times=None),
        empty_list(DETAILS, None, skip=1),
    )

    error = error_of(pool.run("DELETE_DEVICE", name=device["name"]))

    assert error["retryable"] is True
    assert pool.only_server()["name"] == device["name"]


def test_the_failure_names_the_device_that_nova_keeps(
    pools: Pools,
) -> None:
    pool = pools.new(long_timeout=3.0)
    pool.fault(Fault.stuck(), not_found("DELETE"), not_found("GET"))

    answer = pool.run("BUILD_DEVICE")

    assert answer["response"] == "FAIL"
    assert answer["name"] == pool.only_server()["name"]
    assert {"name", "addr", "type", "az"} <= set(answer)


def hidden_servers(times: int) -> list[Fault]:
    """Return faults that hide a new server from so many requests of a kind."""
    return [
        empty_list(DETAILS, times, skip=1),
        not_found("GET", times=times),
        not_found("DELETE", times=times),
    ]


def test_a_booting_device_listed_late_is_not_taken_for_deleted(
    pools: Pools,
) -> None:
    pool = pools.new(pace=replace(FAST, out_of_sight=60.0))
    pool.fault(*hidden_servers(6))

    device = pool.build()

    assert pool.only_server()["name"] == device["name"]
    assert pool.posts() == 1


def test_a_failed_device_listed_late_is_deleted(
    pools: Pools,
) -> None:
    pool = pools.new(pace=replace(FAST, out_of_sight=60.0), long_timeout=0.5)
    pool.fault(Fault.stuck(), *hidden_servers(4))

    pool.fails("BUILD_DEVICE", "deadline")

    assert not pool.cloud.servers


def test_an_orphan_that_nova_keeps_is_reported_as_failed(pool: Pool) -> None:
    mark = Mark.for_job("libra", Job("unique", "H:host:1"))
    orphan = pool.openstack.create_device("libra-left", mark)
    pool.openstack.wait_ready(orphan)
    pool.fault(not_found("DELETE"), not_found("GET"))

    assert pool.reap() == {"libra-left": "failed"}
    assert pool.only_server()["name"] == "libra-left"


def test_the_floating_ip_of_an_unlisted_device_is_not_reaped(
    pools: Pools,
) -> None:
    pool = pools.new(nova={"device_floating_ip": True})
    pool.build()
    ip = pool.only_ip()
    pool.change_ip(ip, port_id=None)
    pool.fault(empty_list(DETAILS, None))

    assert pool.reap() == {ip["floating_ip_address"]: "kept"}
    assert pool.only_ip()["id"] == ip["id"]


def neutron_not_found(kind: str, method: str, **rule: Any) -> Fault:
    """Return Neutron's 404."""
    body: Mapping[str, Any] = {"NeutronError": {"type": kind, "message": ""}}
    return Fault(
        **{
            "method": method,
            "path": ONE_IP,
            "status": 404,
            "body": body,
            "times": None,
            **rule,
        }
    )


def test_a_listed_floating_ip_answered_with_404_is_not_released(
    pool: Pool,
) -> None:
    ip = pool.build_ip()
    pool.fault(neutron_not_found("FloatingIPNotFound", "DELETE"))

    reason = pool.fails("DELETE_IP", "cloud_unavailable", ip=ip["ip"])

    assert "still shows it" in reason
    assert pool.only_ip()["id"] == ip["id"]


def test_a_floating_ip_released_by_somebody_else_counts_as_released(
    pool: Pool,
) -> None:
    ip = pool.build_ip()
    pool.fault(neutron_not_found("FloatingIPNotFound", "DELETE", after=True))

    pool.passes("DELETE_IP", ip=ip["ip"])

    assert not pool.cloud.floating_ips


def test_a_floating_ip_listed_late_is_answered(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolmgr.actions.build_ip.SEEN_LATE", 60.0)
    pool = pools.new()
    pool.fault(
        neutron_not_found("FloatingIPNotFound", "PUT", times=3),
        empty_list(IPS, 3, skip=1),
    )

    ip = pool.passes("BUILD_IP", OLD)

    assert pool.only_ip()["id"] == ip["id"]
    assert "state=handed-over" in pool.only_ip()["description"]
    assert pool.posts(IPS) == 1


@pytest.mark.parametrize(
    "fault",
    [
        empty_list("/ports", 3),
        neutron_not_found("PortNotFound", "PUT", times=3),
        empty_list(IPS, 1),
        empty_list(IPS, 1, skip=1),
    ],
    ids=["no port", "port not found", "not listed", "not listed later"],
)
def test_an_attachment_of_resources_listed_late_is_retried(
    pool: Pool, fault: Fault
) -> None:
    device, ip = pool.build(), pool.build_ip()
    pool.fault(fault)

    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])

    assert pool.device_of(ip) == device["name"]


@pytest.mark.parametrize(
    "fault",
    [
        empty_list("/ports", 3),
        neutron_not_found("FloatingIPNotFound", "PUT", times=2),
        empty_list(IPS, 2, skip=2),
    ],
    ids=["no port", "not found", "not listed"],
)
def test_a_devices_own_floating_ip_listed_late_is_attached(
    pools: Pools, fault: Fault
) -> None:
    pool = pools.new(nova={"device_floating_ip": True})
    pool.fault(fault)

    device = pool.build()

    assert pool.only_ip()["floating_ip_address"] == device["addr"]
