"""What Neutron shows of floating IPs and of ports, and what that is."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from poolmgr.drivers.base import FloatingIP
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.entries import Entry, objects, required_text

#: What an address is attached to if Neutron does not tell: it is not free.
UNKNOWN = "unknown"


class ShownIP(Entry, gc=False):
    """What is read of a floating IP.

    https://docs.openstack.org/api-ref/network/v2/#list-floating-ips
    """

    floating_ip_address: str
    port_id: Any = UNKNOWN
    port_details: Any = None
    revision_number: Any = None
    description: Any = marks.UNREADABLE
    created_at: Any = None

    @property
    def shown_device(self) -> str:
        """The id of the server that Neutron shows with it."""
        details = self.port_details
        known = isinstance(details, Mapping) and details.get("device_id")
        return known if isinstance(known, str) else ""


class Port(Entry, gc=False):
    device_id: Any = None
    fixed_ips: Any = None


def device_of_port(port: Port) -> tuple[str, str]:
    return port.id, required_text(port.device_id, "device_id")


def places_of(port: Port) -> list[tuple[str, str]]:
    """A port's id with each of its addresses."""
    addresses = [fixed.get("ip_address") for fixed in objects(port.fixed_ips)]
    return [(port.id, each) for each in addresses if isinstance(each, str)]


def floating_ip_of(entry: ShownIP, devices: Mapping[str, str]) -> FloatingIP:
    """A floating IP.

    :param devices: ids of servers by their ports, where Neutron shows none
    :raises ValueError: its address is none
    """
    description = "" if entry.description is None else entry.description
    mark, goes_with = marks.mark_in_description(description)
    device_id = None
    if entry.port_id is not None:
        port = entry.port_id if isinstance(entry.port_id, str) else UNKNOWN
        # A port that no server has is no device's, but not free either.
        device_id = entry.shown_device or devices.get(port) or port
    revision, created = entry.revision_number, entry.created_at
    is_text = isinstance(created, str)
    return FloatingIP(
        id=entry.id,
        address=str(ip_address(entry.floating_ip_address)),
        device_id=device_id,
        # Without one Neutron refuses every change, by its 412.
        revision=revision if isinstance(revision, int) else 0,
        mark=mark,
        created=created.replace("Z", "+00:00") if is_text else None,
        goes_with=goes_with or None,
    )
