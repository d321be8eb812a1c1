"""The initial resources of the loopback cloud, in the services' JSON."""

import ipaddress
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from poolmgr.testing.openstack.settings import CloudSettings

Json = dict[str, Any]

#: The owner of all resources.
USERNAME = "demo"
PASSWORD = "secret"  # noqa: S105  (opens nothing but a loopback cloud)
PROJECT = "demo"
DOMAIN = "default"
REGION = "RegionOne"
AVAILABILITY_ZONES = ("az1", "az2")


def seed_id(kind: str, name: str) -> str:
    """Return the id of an initial resource, the same in all clouds."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"loopback:{kind}:{name}"))


def now_text() -> str:
    """Return the current time in the format of Nova and Neutron."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


PROJECT_ID = seed_id("project", PROJECT).replace("-", "")
USER_ID = seed_id("user", USERNAME).replace("-", "")
ROUTER_ID = seed_id("router", "router")
#: The fields that all resources of Neutron have.
OWNED: Json = {"project_id": PROJECT_ID, "tenant_id": PROJECT_ID, "tags": []}
_SINCE = {
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
}


class Exhausted(Exception):
    """There is no free address."""


class Subnet:
    """A subnet and its free addresses.

    :param network: the name of its network
    :param cidr: its addresses; the first is the gateway's
    """

    def __init__(self, network: str, cidr: str) -> None:
        self.network_id = seed_id("network", network)
        self.addresses = ipaddress.ip_network(cidr)
        self.version = self.addresses.version
        self.name = f"{network}-v{self.version}"
        self.id = seed_id("subnet", self.name)
        self._fresh: Iterator[str] = map(str, self.addresses.hosts())
        self._given_back: deque[str] = deque()
        self.gateway = next(self._fresh)

    def take(self) -> str:
        """Allocate an address.

        :raises Exhausted: there is no free address
        """
        address = next(self._fresh, None)
        if address is not None:
            return address
        if not self._given_back:
            raise Exhausted(str(self.addresses))
        return self._given_back.popleft()

    def give(self, address: str) -> None:
        """Release an address."""
        self._given_back.append(address)

    def shown(self) -> Json:
        """Return Neutron's JSON."""
        return {
            **OWNED,
            "id": self.id,
            "name": self.name,
            "network_id": self.network_id,
            "ip_version": self.version,
            "cidr": str(self.addresses),
            "gateway_ip": self.gateway,
        }


@dataclass
class Network:
    """A network.

    :ivar external: whether it has floating IPs
    :ivar routed: whether a router connects it to the external network
    """

    name: str
    subnets: list[Subnet]
    external: bool = False
    routed: bool = False
    id: str = field(init=False)

    def __post_init__(self) -> None:
        self.id = seed_id("network", self.name)

    def shown(self) -> Json:
        """Return Neutron's JSON."""
        return {
            **OWNED,
            **_SINCE,
            "id": self.id,
            "name": self.name,
            "router:external": self.external,
            "subnets": [subnet.id for subnet in self.subnets],
            "status": "ACTIVE",
            "admin_state_up": True,
        }


def networks(settings: CloudSettings) -> dict[str, Network]:
    """Return the networks by id: "private", "isolated", external ones."""

    def made(name: str, *cidrs: str | None, **kind: bool) -> Network:
        return Network(name, [Subnet(name, c) for c in cidrs if c], **kind)

    internal = (settings.private_range, settings.private_range_v6)
    public = settings.floating_range
    every = [
        made("private", *internal, routed=True),
        made("isolated", *internal),
        *(made(n, public, external=True) for n in settings.external_networks),
    ]
    return {network.id: network for network in every}


def _seeded(kind: str, *names: str, **fields: Any) -> dict[str, Json]:
    """Return resources by id that differ in name and id."""
    ids = {seed_id(kind, name): name for name in names}
    return {i: {"id": i, "name": name, **fields} for i, name in ids.items()}


def flavors() -> dict[str, Json]:
    """Return the flavors by id: "m1.nano" and "m1.small"."""
    others: Json = {
        "vcpus": 1,
        "disk": 1,
        "swap": 0,
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "os-flavor-access:is_public": True,
        "description": None,
        "extra_specs": {},
    }
    return {
        **_seeded("flavor", "m1.nano", ram=64, **others),
        **_seeded("flavor", "m1.small", ram=512, **others),
    }


def images() -> dict[str, Json]:
    """Return the images by id: "tiny" and "tiny-2"."""
    return _seeded(
        "image",
        "tiny",
        "tiny-2",
        status="active",
        visibility="public",
        disk_format="raw",
        container_format="bare",
        size=512,
        owner=PROJECT_ID,
        tags=[],
        **_SINCE,
    )


def keypairs() -> dict[str, Json]:
    """Return the key pairs by name: "poolkey"."""
    return {
        "poolkey": {
            "name": "poolkey",
            "type": "ssh",
            "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA loopback",
            "fingerprint": "26:05:76:48:e4:46:6c:ed:02:66:84:5d:e1:46:7e:b8",
        }
    }


def security_groups() -> dict[str, Json]:
    """Return the security groups by id: "default" and "pool"."""
    return _seeded(
        "security group",
        "default",
        "pool",
        description="",
        security_group_rules=[],
        **OWNED,
        **_SINCE,
    )


def server_groups() -> dict[str, Json]:
    """Return the server groups by id: "apart"."""
    return _seeded(
        "server group",
        "apart",
        policy="anti-affinity",
        rules={},
        project_id=PROJECT_ID,
        user_id=USER_ID,
    )
