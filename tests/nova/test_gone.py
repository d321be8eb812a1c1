"""What Nova or Neutron still shows is not gone, whatever one answer says."""

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
from tests.nova.test_reaping import reaped

Json = dict[str, Any]
NOWHERE = {"itemNotFound": {"code": 404, "message": "could not be found."}}


def not_found(method: str, path: str = ONE_SERVER, **rule: Any) -> Fault:
    """Nova's 404, for good."""
    return Fault(
        **{
            "method": method,
            "path": path,
            "status": 404,
            "body": NOWHERE,
            "times": None,
            **rule,
        }
    )


def empty(path: str, times: int | None, **rule: Any) -> Fault:
    """Lists without anything in them."""
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
def test_a_device_without_a_cell_is_not_deleted(
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


def test_a_device_whose_cell_is_down_is_not_deleted(pools: Pools) -> None:
    pool = pools.new()
    device = pool.build()
    pool.adopt(short_timeout=2.0)

    def down(answer: Json) -> Json:
        kept = {k: answer["server"][k] for k in ("id", "created", "links")}
        return {"server": {**kept, "status": "UNKNOWN"}}

    pool.fault(
        Fault(
            method="DELETE", path=ONE_SERVER, fate=Fate(lost=True), times=None
        ),
        Fault(method="GET", path=ONE_SERVER, change=down, times=None),
        empty(DETAILS, None, skip=1),
    )

    error = error_of(pool.run("DELETE_DEVICE", name=device["name"]))

    assert error["retryable"] is True
    assert pool.only_server()["name"] == device["name"]


def test_what_was_deleted_by_another_is_gone(pool: Pool) -> None:
    device = pool.build()
    gone = Fault(method="DELETE", path=ONE_SERVER, status=404, after=True)
    pool.fault(gone)

    pool.passes("DELETE_DEVICE", name=device["name"])

    assert not pool.cloud.servers


def test_a_failed_build_names_the_device_that_nova_keeps(
    pools: Pools,
) -> None:
    pool = pools.new(long_timeout=1.0)
    pool.fault(Fault.stuck(), not_found("DELETE"), not_found("GET"))

    answer = pool.run("BUILD_DEVICE")

    assert answer["response"] == "FAIL"
    assert answer["name"] == pool.only_server()["name"]
    assert {"name", "addr", "type", "az"} <= set(answer)


def hidden(pool: Pool, looks: int) -> list[Fault]:
    """New servers are not to be seen: so many lists, and single looks."""
    return [
        empty(DETAILS, looks, skip=1),
        not_found("GET", times=looks),
        not_found("DELETE", times=looks),
    ]


def test_a_build_that_is_seen_late_has_not_disappeared(
    pools: Pools,
) -> None:
    pool = pools.new(pace=replace(FAST, out_of_sight=60.0))
    pool.fault(*hidden(pool, 6))

    device = pool.build()

    assert pool.only_server()["name"] == device["name"]
    assert pool.posts() == 1


def test_a_failed_build_that_is_seen_late_is_deleted(
    pools: Pools,
) -> None:
    pool = pools.new(pace=replace(FAST, out_of_sight=60.0), long_timeout=0.5)
    pool.fault(Fault.stuck(), *hidden(pool, 4))

    pool.fails("BUILD_DEVICE", "deadline")

    assert not pool.cloud.servers


def test_what_nova_keeps_is_not_reaped(pool: Pool) -> None:
    mark = Mark.for_job("libra", Job("unique", "H:host:1"))
    left = pool.openstack.create_device("libra-left", mark)
    pool.openstack.wait_ready(left)
    pool.fault(not_found("DELETE"), not_found("GET"))

    assert reaped(pool) == {"libra-left": "failed"}
    assert pool.only_server()["name"] == "libra-left"


def test_the_address_of_a_device_that_no_list_has_is_kept(
    pools: Pools,
) -> None:
    pool = pools.new(nova={"device_floating_ip": True})
    pool.build()
    ip = pool.only_ip()
    pool.change_ip(ip, port_id=None)
    pool.fault(empty(DETAILS, None))

    assert reaped(pool) == {ip["floating_ip_address"]: "kept"}
    assert pool.only_ip()["id"] == ip["id"]


def neutrons(kind: str, method: str, **rule: Any) -> Fault:
    """Neutron's 404."""
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


def test_an_address_that_neutron_keeps_is_not_deleted(pool: Pool) -> None:
    ip = pool.build_ip()
    pool.fault(neutrons("FloatingIPNotFound", "DELETE"))

    reason = pool.fails("DELETE_IP", "cloud_unavailable", ip=ip["ip"])

    assert "still shows it" in reason
    assert pool.only_ip()["id"] == ip["id"]


def test_an_address_that_another_deleted_is_gone(pool: Pool) -> None:
    ip = pool.build_ip()
    pool.fault(neutrons("FloatingIPNotFound", "DELETE", after=True))

    pool.passes("DELETE_IP", ip=ip["ip"])

    assert not pool.cloud.floating_ips


def test_an_address_that_is_seen_late_is_the_one_that_is_answered(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolmgr.actions.build_ip._SEEN_LATE", 60.0)
    pool = pools.new()
    pool.fault(
        neutrons("FloatingIPNotFound", "PUT", times=3),
        empty(IPS, 3, skip=1),
    )

    ip = pool.passes("BUILD_IP", OLD)

    assert pool.only_ip()["id"] == ip["id"]
    assert "state=handed-over" in pool.only_ip()["description"]
    assert pool.posts(IPS) == 1


@pytest.mark.parametrize(
    "fault",
    [
        empty("/ports", 3),
        neutrons("PortNotFound", "PUT", times=3),
        empty(IPS, 1),
        empty(IPS, 1, skip=1),
    ],
    ids=["no port", "port not found", "no address", "no address then"],
)
def test_an_attachment_to_what_is_seen_late_is_asked_for_again(
    pool: Pool, fault: Fault
) -> None:
    device, ip = pool.build(), pool.build_ip()
    pool.fault(fault)

    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])

    assert pool.device_of(ip) == device["name"]


@pytest.mark.parametrize(
    "fault",
    [
        empty("/ports", 3),
        neutrons("FloatingIPNotFound", "PUT", times=2),
        empty(IPS, 2, skip=2),
    ],
    ids=["no port", "not to be changed", "in no list"],
)
def test_a_device_s_own_address_that_is_seen_late_is_attached(
    pools: Pools, fault: Fault
) -> None:
    pool = pools.new(nova={"device_floating_ip": True})
    pool.fault(fault)

    device = pool.build()

    assert pool.only_ip()["floating_ip_address"] == device["addr"]
