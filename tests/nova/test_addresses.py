"""Tests of which address of a server is answered."""

import ipaddress
from typing import Any

import msgspec
import pytest

from poolmgr.drivers.nova import NovaSettings
from poolmgr.drivers.nova.devices import Server, device_of
from tests.nova.pools import Pools
from tests.polling import until

Addresses = dict[str, list[dict[str, object]]]


def entry(address: str, kind: str = "fixed") -> dict[str, object]:
    version = 6 if ":" in address else 4
    return {"version": version, "addr": address, "OS-EXT-IPS:type": kind}


def chosen_address(addresses: Addresses, settings: NovaSettings) -> str | None:
    """Return the address chosen among a server's addresses."""
    required = dict.fromkeys(("id", "name", "status", "created"), "ACTIVE")
    server = {**required, "metadata": {}, "addresses": addresses}
    device = device_of(msgspec.convert(server, Server), settings)
    assert device is not None
    return device.address


PRIVATE = entry("10.20.1.4")
FLOATING = entry("198.51.100.7", "floating")
PUBLIC = entry("15.185.175.81")


@pytest.mark.parametrize(
    ("addresses", "chosen"),
    [
        ({}, None),
        ({"private": []}, None),
        ({"private": [PRIVATE]}, "10.20.1.4"),
        ({"private": [{**PRIVATE, "OS-EXT-IPS:type": None}]}, "10.20.1.4"),
        ({"private": [PRIVATE, FLOATING]}, "198.51.100.7"),
        ({"a": [PRIVATE], "b": [PUBLIC]}, "15.185.175.81"),
        ({"a": [PUBLIC], "b": [PRIVATE, FLOATING]}, "198.51.100.7"),
        ({"a": [entry("2001:db8::1")]}, None),
        ({"a": [entry("2001:db8::1"), PRIVATE]}, "10.20.1.4"),
        ({"a": [entry("172.16.0.9")], "b": [entry("8.8.8.8")]}, "8.8.8.8"),
        ({"a": [entry("100.64.0.9")], "b": [entry("8.8.8.8")]}, "8.8.8.8"),
        ({"a": [entry("192.168.0.9")], "b": [PRIVATE]}, "192.168.0.9"),
        # The name of the network does not matter.
        ({"public": [entry("10.1.2.3")]}, "10.1.2.3"),
    ],
)
def test_the_best_address_is_floating_then_public_then_first(
    addresses: Addresses, chosen: str | None
) -> None:
    assert chosen_address(addresses, NovaSettings()) == chosen


BOTH: Addresses = {
    "front": [PRIVATE, FLOATING, entry("2001:db8::1")],
    "back": [entry("10.99.0.1"), entry("fd00::1")],
}


@pytest.mark.parametrize(
    ("network", "version", "kind", "chosen"),
    [
        (None, "4", "fixed", "10.20.1.4"),
        (None, "4", "floating", "198.51.100.7"),
        ("back", "4", "best", "10.99.0.1"),
        ("back", "4", "floating", None),
        ("front", "4", "best", "198.51.100.7"),
        (None, "6", "best", "2001:db8::1"),
        ("back", "6", "best", "fd00::1"),
        ("nowhere", "4", "best", None),
    ],
)
def test_address_network_version_and_type_are_options(
    network: str | None, version: Any, kind: Any, chosen: str | None
) -> None:
    settings = NovaSettings(
        address_network=network, address_version=version, address_type=kind
    )

    assert chosen_address(BOTH, settings) == chosen


# -- answers of builds ------------------------------------------------------


V6 = "2001:db8::/64"


@pytest.mark.parametrize(
    ("cloud", "nova", "network"),
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
def test_the_answered_address_has_the_configured_version_and_type(
    pools: Pools, cloud: dict[str, Any], nova: dict[str, Any], network: str
) -> None:
    answer = pools.new(cloud, nova).build()

    address = ipaddress.ip_address(str(answer["addr"]))
    assert address in ipaddress.ip_network(network)


def test_the_answered_address_is_in_the_configured_network(
    pools: Pools,
) -> None:
    nova = {
        "networks": ("isolated", "private"),
        "address_network": "private",
    }
    pool = pools.new(nova=nova)

    answer = pool.build()

    addresses = pool.only_server()["addresses"]
    assert answer["addr"] == addresses["private"][0]["addr"]


def test_a_build_without_an_address_of_the_version_fails(pools: Pools) -> None:
    pool = pools.new(nova={"address_version": "6"}, long_timeout=2.0)

    reason = pool.fails("BUILD_DEVICE", "deadline")

    assert "without an address" in reason
    assert not pool.cloud.servers


def test_a_build_waits_for_a_floating_address(pools: Pools) -> None:
    pool = pools.new(nova={"address_type": "floating"})
    job = pool.submit("BUILD_DEVICE")
    until(lambda: pool.cloud.ports)
    port = pool.cloud.ports[0]["id"]

    ip = pool.create_foreign_ip(port_id=port)

    assert job.future.result().answer["addr"] == ip["ip"]
