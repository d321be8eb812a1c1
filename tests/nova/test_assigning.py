"""Tests of ASSIGN_IP and REMOVE_IP."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from poolmgr.errors import Changed
from poolmgr.jobs.message import Message
from poolmgr.testing.openstack import Fate, Fault
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

PUT = Fault(method="PUT", path=ONE_IP, status=500)


def assign(pool: Pool, ip: Message, device: Message) -> Message:
    return pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])


def test_assign_ip_attaches_by_one_request(pool: Pool) -> None:
    device, ip = pool.build(), pool.build_ip()
    pool.cloud.forget_calls()

    answer = assign(pool, ip, device)

    assert answer == {
        "action": "ASSIGN_IP",
        "ip": ip["ip"],
        "name": device["name"],
        "response": "PASS",
    }
    assert pool.device_of(ip) == device["name"]
    assert pool.cloud.count("PUT") == 1


def test_concurrent_changes_of_one_floating_ip_are_serialized(
    pool: Pool,
) -> None:
    """Neutron would accept both of two changes within a millisecond."""
    pool.build()
    pool.build_ip()
    (ip,) = pool.openstack.list_ips()
    device = pool.openstack.list_devices()[0]
    assert ip.mark is not None
    pool.cloud.forget_calls()
    pool.fault(Fault(method="PUT", path=ONE_IP, hang=1.0))

    with ThreadPoolExecutor() as threads:
        first = threads.submit(pool.openstack.attach_ip, ip, device)
        until(lambda: pool.cloud.count("PUT") == 1)
        second = threads.submit(pool.openstack.mark_ip, ip, ip.mark)
        first.result()
        with pytest.raises(Changed):
            second.result()

    earlier, later = pool.calls("PUT", f"{IPS}/{ip.id}")
    assert later.when - earlier.when >= 1.0


def test_assign_ip_of_an_attached_floating_ip_changes_nothing(
    pool: Pool,
) -> None:
    device = pool.build()
    ip = pool.build_ip(device)
    pool.cloud.forget_calls()

    assign(pool, ip, device)

    assert pool.cloud.count("PUT") == 0


def test_assign_ip_moves_a_floating_ip_by_one_request(pool: Pool) -> None:
    first, second = pool.build(), pool.build()
    ip = pool.build_ip(first)
    pool.cloud.forget_calls()

    assign(pool, ip, second)

    assert pool.device_of(ip) == second["name"]
    assert pool.cloud.count("PUT") == 1


@pytest.mark.parametrize(
    "fault",
    [
        replace(PUT, status=None, fate=Fate(lost=True), times=2),
        PUT,
        replace(PUT, after=True),
        replace(PUT, status=None, reset=True),
        replace(PUT, status=None, reset=True, after=True),
        replace(PUT, status=None, truncate=True),
        replace(PUT, status=None, html=True),
        replace(PUT, status=None, hang=9.0),
        replace(PUT, status=412),
        replace(PUT, status=429, retry_after=0.2),
        Fault(method="GET", path=IPS, status=500),
        Fault(method="GET", path=IPS, reset=True),
        Fault(method="GET", path=IPS, status=200, body={}),
        Fault(method="GET", path="/ports", status=503),
        Fault(method="GET", path="/ports", status=200, body={}),
    ],
    ids=fault_id,
)
@pytest.mark.parametrize("action", ["ASSIGN_IP", "REMOVE_IP"])
def test_a_failed_attachment_is_retried(
    pools: Pools, action: str, fault: Fault
) -> None:
    pool = pools.new(nova={"call_timeout": 0.5})
    device = pool.build()
    ip = pool.build_ip(device if action == "REMOVE_IP" else None)
    pool.fault(fault)

    pool.passes(action, ip=ip["ip"], name=device["name"])

    attached = device["name"] if action == "ASSIGN_IP" else None
    assert pool.device_of(ip) == attached
    assert pool.only_ip()["id"] == ip["id"]


@pytest.mark.parametrize("action", ["ASSIGN_IP", "REMOVE_IP"])
def test_an_ineffective_attachment_fails_at_the_deadline(
    pool: Pool, action: str
) -> None:
    device = pool.build()
    ip = pool.build_ip(device if action == "REMOVE_IP" else None)
    pool.fault(Fault.lost_floating_ip(times=None))
    pool.adopt(short_timeout=2.0)

    pool.fails(action, "deadline", ip=ip["ip"], name=device["name"])


@pytest.mark.parametrize("action", ["ASSIGN_IP", "REMOVE_IP"])
def test_a_request_cut_off_by_the_deadline_is_not_the_reported_reason(
    pool: Pool, action: str
) -> None:
    # Neutron answers the changes; only the last check has no time left.
    device = pool.build()
    ip = pool.build_ip(device if action == "REMOVE_IP" else None)
    pool.cloud.forget_calls()
    pool.fault(
        Fault.lost_floating_ip(times=None),
        Fault(
            method="GET",
            path=IPS,
            hang=60.0,
            where=lambda _call: pool.cloud.count("PUT") == 2,
        ),
    )
    pool.adopt(short_timeout=2.0)

    pool.fails(action, "deadline", ip=ip["ip"], name=device["name"])


@pytest.mark.parametrize("action", ["ASSIGN_IP", "REMOVE_IP"])
def test_a_persistent_cloud_error_is_in_the_failure_message(
    pool: Pool, action: str
) -> None:
    device = pool.build()
    ip = pool.build_ip(device if action == "REMOVE_IP" else None)
    pool.fault(replace(PUT, times=None))
    pool.adopt(short_timeout=2.0)

    error = error_of(pool.run(action, ip=ip["ip"], name=device["name"]))

    assert error["code"] in ("cloud_unavailable", "deadline")
    assert "Neutron answered 500" in error["message"]


@pytest.mark.parametrize("action", ["ASSIGN_IP", "REMOVE_IP"])
def test_a_floating_ip_changed_meanwhile_is_read_again(
    pools: Pools, action: str
) -> None:
    # Neutron increments the revision later, with the status.
    pool = pools.new({"status_delay": 0.3})
    first, second = pool.build(), pool.build()
    ip = pool.build_ip(first)

    name = (second if action == "ASSIGN_IP" else first)["name"]
    pool.passes(action, ip=ip["ip"], name=name)

    attached = second["name"] if action == "ASSIGN_IP" else None
    assert pool.device_of(ip) == attached


# -- ports ------------------------------------------------------------------


def test_assign_ip_uses_the_port_with_a_route(pools: Pools) -> None:
    pool = pools.new(nova={"networks": ("isolated", "private")})
    device, ip = pool.build(), pool.build_ip()

    assign(pool, ip, device)

    assert pool.device_of(ip) == device["name"]
    (port,) = [
        p
        for p in pool.cloud.ports
        if p["id"] == pool.floating_ip(ip)["port_id"]
    ]
    assert port["network_id"] == pool.cloud.ids["private"]


def test_assign_ip_to_a_device_without_a_route_fails_immediately(
    pools: Pools,
) -> None:
    pool = pools.new(nova={"networks": ("isolated",)})
    device, ip = pool.build(), pool.build_ip()

    reason = pool.fails(
        "ASSIGN_IP", "cloud_refused", ip=ip["ip"], name=device["name"]
    )

    assert "is not reachable" in reason


def test_a_second_floating_ip_for_a_device_is_refused(pool: Pool) -> None:
    device = pool.build()
    old, new = pool.build_ip(device), pool.build_ip()

    reason = pool.fails(
        "ASSIGN_IP", "cloud_refused", ip=new["ip"], name=device["name"]
    )

    assert "already has a floating IP" in reason
    assert pool.device_of(old) == device["name"]
    assert pool.device_of(new) is None


def test_assign_ip_to_a_missing_device_fails(pool: Pool) -> None:
    ip = pool.build_ip()

    pool.fails("ASSIGN_IP", "not_found", ip=ip["ip"], name=DEVICE_NAME)


def test_assign_ip_and_remove_ip_of_a_missing_floating_ip_fail(
    pool: Pool,
) -> None:
    device, ip = pool.build(), pool.build_ip()
    pool.passes("DELETE_IP", ip=ip["ip"])

    for action in ("ASSIGN_IP", "REMOVE_IP"):
        pool.fails(action, "not_found", ip=ip["ip"], name=device["name"])


# -- check_port -------------------------------------------------------------


@contextmanager
def open_port() -> Iterator[int]:
    """Yield a TCP port that is open on every loopback address."""
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104
        yield int(server.getsockname()[1])


@pytest.mark.parametrize("status_delay", [0.0, 0.4])
def test_assign_ip_detaches_if_the_check_port_refuses(
    pools: Pools, status_delay: float
) -> None:
    with open_port() as port:
        pass
    pool = pools.new(
        {"floating_range": "127.0.9.0/24", "status_delay": status_delay},
        check_port=port,
    )
    device, ip = pool.build(), pool.build_ip()
    pool.adopt(short_timeout=1.0)

    reason = pool.fails(
        "ASSIGN_IP", "deadline", ip=ip["ip"], name=device["name"]
    )

    assert str(port) in reason
    assert pool.device_of(ip) is None


def test_assign_ip_passes_if_the_check_port_accepts(pools: Pools) -> None:
    with open_port() as port:
        pool = pools.new({"floating_range": "127.0.9.0/24"}, check_port=port)
        device, ip = pool.build(), pool.build_ip()

        assign(pool, ip, device)

    assert pool.device_of(ip) == device["name"]


# -- REMOVE_IP --------------------------------------------------------------


def test_remove_ip_detaches_the_floating_ip_without_releasing_it(
    pool: Pool,
) -> None:
    device = pool.build()
    ip = pool.build_ip(device)

    pool.passes("REMOVE_IP", ip=ip["ip"], name=device["name"])

    assert pool.only_ip()["port_id"] is None
    assert "poolmgr" in pool.only_ip()["description"]


def test_remove_ip_of_an_unattached_floating_ip_changes_nothing(
    pool: Pool,
) -> None:
    device, ip = pool.build(), pool.build_ip()
    pool.cloud.forget_calls()

    pool.passes("REMOVE_IP", ip=ip["ip"], name=device["name"])

    assert pool.cloud.count("PUT") == 0


def test_remove_ip_does_not_detach_from_another_device(pool: Pool) -> None:
    first, second = pool.build(), pool.build()
    ip = pool.build_ip(first)

    pool.fails(
        "REMOVE_IP", "attached_elsewhere", ip=ip["ip"], name=second["name"]
    )

    assert pool.device_of(ip) == first["name"]
