"""Ports and floating IPs, as Neutron has them."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from poolmgr.testing.openstack.addresses import Exhausted
from poolmgr.testing.openstack.clock import now_text
from poolmgr.testing.openstack.seeds import (
    PROJECT_ID,
    ROUTER_ID,
    Network,
    Subnet,
)

Json = dict[str, Any]


@dataclass
class Port:
    """A server's port on a network.

    :ivar fixed_ips: its addresses, each with the subnet it is from
    """

    network: Network
    server_id: str
    zone: str
    security_groups: list[str]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    fixed_ips: list[tuple[Subnet, str]] = field(default_factory=list)
    created: str = field(default_factory=now_text)
    _shown: Json | None = None

    def __post_init__(self) -> None:
        self.mac = f"fa:16:3e:{self.id[:2]}:{self.id[2:4]}:{self.id[4:6]}"

    def take_addresses(self) -> None:
        """Get one address of each subnet.

        :raises Exhausted: a subnet has none; it keeps none then
        """
        try:
            for subnet in self.network.subnets:
                self.fixed_ips.append((subnet, subnet.addresses.take()))
        except Exhausted:
            self.give_addresses()
            raise

    def give_addresses(self) -> None:
        """Put its addresses back."""
        for subnet, address in self.fixed_ips:
            subnet.addresses.give(address)
        self.fixed_ips.clear()

    @property
    def ipv4(self) -> list[str]:
        """Its IPv4 addresses: those that a floating IP can lead to."""
        return [a for s, a in self.fixed_ips if s.addresses.version == 4]

    def shown(self) -> Json:
        """As Neutron shows it; made once, for a port never changes."""
        if self._shown is None:
            self._shown = self._new_shown()
        return self._shown

    def _new_shown(self) -> Json:
        return {
            **self.details(),
            "id": self.id,
            "fixed_ips": [
                {"subnet_id": subnet.id, "ip_address": address}
                for subnet, address in self.fixed_ips
            ],
            "security_groups": self.security_groups,
            "allowed_address_pairs": [],
            "extra_dhcp_opts": [],
            "binding:vnic_type": "normal",
            "port_security_enabled": True,
            "description": "",
            "project_id": PROJECT_ID,
            "tenant_id": PROJECT_ID,
            "tags": [],
            "created_at": self.created,
            "updated_at": self.created,
            "revision_number": 4,
        }

    def details(self) -> Json:
        """What Neutron shows of it with a floating IP."""
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
    """A floating IP; change it by :meth:`change`, for it keeps its JSON.

    :ivar port: that it leads to, with ``fixed_address``
    :ivar revision: goes up with every change, also with that of its status
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
    _shown: Json | None = None

    def change(self, **values: Any) -> None:
        """Give it new values, and so a new revision."""
        for name, value in values.items():
            setattr(self, name, value)
        self.revision += 1
        self.updated = now_text()
        self._shown = None

    def shown(self) -> Json:
        """As Neutron shows it; made anew only after a change."""
        if self._shown is None:
            self._shown = self._new_shown()
        return self._shown

    def _new_shown(self) -> Json:
        port = self.port
        return {
            "id": self.id,
            "floating_ip_address": self.address,
            "floating_network_id": self.network.id,
            "port_id": port.id if port else None,
            "fixed_ip_address": self.fixed_address,
            "router_id": ROUTER_ID if port else None,
            "port_details": port.details() if port else None,
            "status": self.status,
            "description": self.description,
            "revision_number": self.revision,
            "created_at": self.created,
            "updated_at": self.updated,
            "project_id": PROJECT_ID,
            "tenant_id": PROJECT_ID,
            "tags": [],
        }
