"""Ports and floating IPs, like Neutron's."""

import uuid
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from poolmgr.testing.openstack.seeds import (
    OWNED,
    ROUTER_ID,
    Exhausted,
    Json,
    Network,
    Subnet,
    now_text,
)


@dataclass
class Port:
    """A server's port on a network.

    :ivar fixed_ips: its addresses, each with its subnet
    """

    network: Network
    server_id: str
    zone: str
    security_groups: list[str]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    fixed_ips: list[tuple[Subnet, str]] = field(default_factory=list)
    created: str = field(default_factory=now_text)

    def __post_init__(self) -> None:
        self.mac = f"fa:16:3e:{self.id[:2]}:{self.id[2:4]}:{self.id[4:6]}"

    def take_addresses(self) -> None:
        """Allocate one address of each subnet.

        :raises Exhausted: a subnet has no free address; none is allocated
        """
        try:
            for subnet in self.network.subnets:
                self.fixed_ips.append((subnet, subnet.take()))
        except Exhausted:
            self.give_addresses()
            raise

    def give_addresses(self) -> None:
        """Release its addresses."""
        for subnet, address in self.fixed_ips:
            subnet.give(address)
        self.fixed_ips.clear()

    @property
    def ipv4(self) -> list[str]:
        """Its IPv4 addresses, which floating IPs can be attached to."""
        return [a for s, a in self.fixed_ips if s.version == 4]

    def shown(self) -> Json:
        """Return Neutron's JSON."""
        return self._json

    @cached_property
    def _json(self) -> Json:
        # Cached: a port never changes, and lists of ports are long.
        return {
            **OWNED,
            **self.details,
            "id": self.id,
            "fixed_ips": [
                {"subnet_id": subnet.id, "ip_address": address}
                for subnet, address in self.fixed_ips
            ],
            "security_groups": self.security_groups,
            "description": "",
            "created_at": self.created,
            "updated_at": self.created,
            "revision_number": 4,
        }

    @property
    def details(self) -> Json:
        """The port details that Neutron shows with a floating IP."""
        return {
            "name": "",
            "network_id": self.network.id,
            "mac_address": self.mac,
            "admin_state_up": True,
            "status": "ACTIVE",
            "device_id": self.server_id,
            "device_owner": f"compute:{self.zone}",
        }


@dataclass
class FloatingIP:
    """A floating IP with cached JSON; use :meth:`change` to change it.

    :ivar port: the port that it is attached to, at ``fixed_address``
    :ivar revision: increased by each change, also of its status
    """

    address: str
    network: Network
    description: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    port: Port | None = None
    fixed_address: str | None = None
    status: str = "DOWN"
    revision: int = 0
    created: str = field(default_factory=now_text)
    updated: str = field(default_factory=now_text)

    def change(self, **values: Any) -> None:
        """Change attributes and increase the revision."""
        self.__dict__.update(values)
        self.revision += 1
        self.updated = now_text()
        self.__dict__.pop("_json", None)

    def shown(self) -> Json:
        """Return Neutron's JSON."""
        return self._json

    @cached_property
    def _json(self) -> Json:
        # Cached until the next change.
        port = self.port
        return {
            **OWNED,
            "id": self.id,
            "floating_ip_address": self.address,
            "floating_network_id": self.network.id,
            "port_id": port.id if port else None,
            "fixed_ip_address": self.fixed_address,
            "router_id": ROUTER_ID if port else None,
            "port_details": port.details if port else None,
            "status": self.status,
            "description": self.description,
            "revision_number": self.revision,
            "created_at": self.created,
            "updated_at": self.updated,
        }
