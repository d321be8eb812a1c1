"""What the loopback cloud has from the start, in the services' JSON."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from poolmgr.testing.openstack.addresses import AddressPool
from poolmgr.testing.openstack.settings import CloudSettings

Json = dict[str, Any]

#: Whom everything belongs to.
USERNAME = "demo"
PASSWORD = "secret"  # noqa: S105  (opens nothing but a loopback cloud)
PROJECT = "demo"
DOMAIN = "default"
REGION = "RegionOne"
AVAILABILITY_ZONES = ("az1", "az2")
SINCE = "2026-01-01T00:00:00Z"


def seed_id(kind: str, name: str) -> str:
    """The id of something seeded: the same in every loopback cloud."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"loopback:{kind}:{name}"))


PROJECT_ID = seed_id("project", PROJECT).replace("-", "")
USER_ID = seed_id("user", USERNAME).replace("-", "")
ROUTER_ID = seed_id("router", "router")


@dataclass
class Subnet:
    """A subnet and its addresses."""

    id: str
    name: str
    network_id: str
    addresses: AddressPool

    def shown(self) -> Json:
        """As Neutron shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "network_id": self.network_id,
            "ip_version": self.addresses.version,
            "cidr": str(self.addresses.network),
            "gateway_ip": self.addresses.gateway,
            "enable_dhcp": True,
            "project_id": PROJECT_ID,
            "tenant_id": PROJECT_ID,
            "tags": [],
        }


@dataclass
class Network:
    """A network.

    :ivar external: whether floating IPs come from it
    :ivar routed: whether a router leads from it to the external network
    """

    name: str
    external: bool = False
    routed: bool = False
    subnets: list[Subnet] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Its uuid."""
        return seed_id("network", self.name)

    def add(self, cidr: str | None) -> None:
        """Give it a subnet."""
        if cidr is None:
            return
        pool = AddressPool(cidr)
        name = f"{self.name}-v{pool.version}"
        self.subnets.append(
            Subnet(seed_id("subnet", name), name, self.id, pool)
        )

    def shown(self) -> Json:
        """As Neutron shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "router:external": self.external,
            "subnets": [subnet.id for subnet in self.subnets],
            "status": "ACTIVE",
            "admin_state_up": True,
            "shared": False,
            "mtu": 1450,
            "port_security_enabled": True,
            "description": "",
            "project_id": PROJECT_ID,
            "tenant_id": PROJECT_ID,
            "tags": [],
            "created_at": SINCE,
            "updated_at": SINCE,
            "revision_number": 1,
        }


def networks(settings: CloudSettings) -> dict[str, Network]:
    """The networks by id: "private", "isolated" and the external ones."""
    private = Network("private", routed=True)
    isolated = Network("isolated")
    external = [Network(n, external=True) for n in settings.external_networks]
    for internal in (private, isolated):
        internal.add(settings.private_range)
        internal.add(settings.private_range_v6)
    for each in external:
        each.add(settings.floating_range)
    return {each.id: each for each in (private, isolated, *external)}


def flavors() -> dict[str, Json]:
    """The flavors by id: "m1.nano" and "m1.small"."""
    sizes = {"m1.nano": (1, 64, 1), "m1.small": (1, 512, 1)}
    return {
        seed_id("flavor", name): {
            "id": seed_id("flavor", name),
            "name": name,
            "vcpus": vcpus,
            "ram": ram,
            "disk": disk,
            "swap": 0,
            "OS-FLV-EXT-DATA:ephemeral": 0,
            "OS-FLV-DISABLED:disabled": False,
            "os-flavor-access:is_public": True,
            "rxtx_factor": 1.0,
            "description": None,
            "extra_specs": {},
        }
        for name, (vcpus, ram, disk) in sizes.items()
    }


def images() -> dict[str, Json]:
    """The images by id: "tiny" and "tiny-2"."""
    return {
        seed_id("image", name): {
            "id": seed_id("image", name),
            "name": name,
            "status": "active",
            "visibility": "public",
            "disk_format": "raw",
            "container_format": "bare",
            "size": 512,
            "min_ram": 0,
            "min_disk": 0,
            "protected": False,
            "os_hidden": False,
            "owner": PROJECT_ID,
            "tags": [],
            "created_at": SINCE,
            "updated_at": SINCE,
            "self": f"/v2/images/{seed_id('image', name)}",
            "file": f"/v2/images/{seed_id('image', name)}/file",
            "schema": "/v2/schemas/image",
        }
        for name in ("tiny", "tiny-2")
    }


def keypairs() -> dict[str, Json]:
    """The key pairs by name: "poolkey"."""
    return {
        "poolkey": {
            "name": "poolkey",
            "type": "ssh",
            "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA loopback",
            "fingerprint": "26:05:76:48:e4:46:6c:ed:02:66:84:5d:e1:46:7e:b8",
        }
    }


def security_groups() -> dict[str, Json]:
    """The security groups by id: "default" and "pool"."""
    return {
        seed_id("security group", name): {
            "id": seed_id("security group", name),
            "name": name,
            "description": "",
            "stateful": True,
            "shared": False,
            "security_group_rules": [],
            "project_id": PROJECT_ID,
            "tenant_id": PROJECT_ID,
            "tags": [],
            "created_at": SINCE,
            "updated_at": SINCE,
            "revision_number": 1,
        }
        for name in ("default", "pool")
    }


def server_groups() -> dict[str, Json]:
    """The server groups by id: "apart"."""
    group_id = seed_id("server group", "apart")
    return {
        group_id: {
            "id": group_id,
            "name": "apart",
            "policy": "anti-affinity",
            "rules": {},
            "project_id": PROJECT_ID,
            "user_id": USER_ID,
        }
    }
