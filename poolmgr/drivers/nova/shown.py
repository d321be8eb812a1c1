"""What Nova and Neutron show, and the devices and floating IPs that it is."""

import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from poolmgr.drivers.base import Device, FloatingIP, Status
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.calls import Entry, objects, text
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.text import one_line
from poolmgr.text.secrecy import masked

#: Longest text of a fault that is kept, in characters.
_LONGEST_FAULT = 500
#: A fault without a text.
NO_REASON = "Nova gave no reason"
#: What an address is attached to if Neutron does not tell: it is not free.
_UNKNOWN = "unknown"
_GONE = ("DELETED", "SOFT_DELETED")
# What is in none of these, as UNKNOWN of a cell that cannot be asked at
# present, says nothing of the device: it is waited for.
# https://docs.openstack.org/api-guide/compute/server_concepts.html
_ACTIVE = (
    *("ACTIVE", "HARD_REBOOT", "MIGRATING", "PASSWORD", "REBOOT", "RESIZE"),
    "VERIFY_RESIZE",
)
_FAILED = (
    *("ERROR", "PAUSED", "REBUILD", "RESCUE", "REVERT_RESIZE", "SHELVED"),
    *("SHELVED_OFFLOADED", "SHUTOFF", "SUSPENDED"),
)


# What no one outside of a site can reach: RFC 1918, 6598, 3927, 4193, 4291.
_PRIVATE = [
    ipaddress.ip_network(network)
    for network in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
        *("169.254.0.0/16", "127.0.0.0/8", "fc00::/7", "fe80::/10"),
    )
]


def address_of(addresses: object, settings: NovaSettings) -> str | None:
    """The address that clients reach a server by; None while it has none.

    None is ever probed.

    :param addresses: a server's ``addresses``, as Nova shows them;
        https://docs.openstack.org/api-ref/compute/#show-server-details
    :param settings: which of them it is
    """
    floating: list[str] = []
    fixed: list[str] = []
    networks = addresses if isinstance(addresses, Mapping) else {}
    for network, entries in networks.items():
        # A floating IP is listed with the network of its port.
        if settings.address_network not in (None, network):
            continue
        for entry in objects(entries):
            ip = _ip_in(entry.get("addr"))
            if ip is None or str(ip.version) != settings.address_version:
                continue
            is_floating = entry.get("OS-EXT-IPS:type") == "floating"
            (floating if is_floating else fixed).append(str(ip))
    chosen = [*floating, *filter(is_public, fixed), *fixed]
    if settings.address_type == "fixed":
        chosen = fixed
    elif settings.address_type == "floating":
        # One of its own comes when the device is active, not before.
        chosen = chosen if settings.device_floating_ip else floating
    return chosen[0] if chosen else None


def _ip_in(text: object) -> IPv4Address | IPv6Address | None:
    with suppress(ValueError):
        return ipaddress.ip_address(str(text))
    return None


def is_public(address: str) -> bool:
    """Whether an address is in none of the ranges for private use."""
    ip = ipaddress.ip_address(address)
    return not any(ip.version == n.version and ip in n for n in _PRIVATE)


class Server(Entry, gc=False):
    """What is read of a server.

    https://docs.openstack.org/api-ref/compute/#list-servers-detailed
    """

    name: Any = None
    status: Any = None
    addresses: Any = None
    metadata: Any = None
    created: Any = None
    fault: Any = None


@dataclass(frozen=True)
class NovaDevice(Device):
    """A device, and what only this driver asks of it.

    :ivar own_ip: whether it has a floating IP that goes with it
    """

    own_ip: bool = False


def device_of(server: Server, settings: NovaSettings) -> NovaDevice | None:
    """The device that a server is; None if it is gone.

    :param settings: say which of its addresses is the device's
    """
    shown = text(server.status)
    if shown in _GONE:
        return None
    status: Status = "building"
    if shown in _ACTIVE:
        status = "active"
    elif shown in _FAILED:
        status = "failed"
    return NovaDevice(
        id=server.id,
        name=text(server.name),
        status=status,
        address=address_of(server.addresses, settings),
        created=text(server.created).replace("Z", "+00:00"),
        fault=_fault(server) if status == "failed" else None,
        mark=marks.mark_in(server.metadata),
        own_ip=marks.says_own_ip(server.metadata),
    )


def completed(seen: NovaDevice, known: Device | None) -> Device:
    """A device as it is seen, and as it is known where Nova does not tell."""
    if known is None:
        return seen
    if seen.mark is marks.UNREADABLE:
        own_ip = isinstance(known, NovaDevice) and known.own_ip
        seen = replace(seen, mark=known.mark, own_ip=own_ip)
    return seen if seen.name else replace(seen, name=known.name)


def _fault(server: Server) -> str:
    if server.status != "ERROR":
        return f"it is {server.status}"
    fault = server.fault
    message = fault.get("message") if isinstance(fault, Mapping) else fault
    said = masked(text(message).strip())
    return one_line(said, _LONGEST_FAULT) or NO_REASON


class ShownIP(Entry, gc=False):
    """What is read of a floating IP.

    https://docs.openstack.org/api-ref/network/v2/#list-floating-ips
    """

    floating_ip_address: str
    port_id: Any = _UNKNOWN
    port_details: Any = None
    revision_number: Any = None
    description: Any = marks.UNREADABLE
    created_at: Any = None

    @property
    def shown_device(self) -> str:
        """The id of the server that Neutron shows with it."""
        details = self.port_details
        known = isinstance(details, Mapping) and details.get("device_id")
        return text(known)


class Port(Entry, gc=False):
    """What is read of a port."""

    device_id: Any = None
    fixed_ips: Any = None


def addresses_of(port: Port) -> list[str]:
    """A port's IPv4 addresses."""
    fixed = [text(ip.get("ip_address")) for ip in objects(port.fixed_ips)]
    return [address for address in fixed if "." in address]


def floating_ip_of(
    entry: ShownIP, devices: Mapping[str, str]
) -> FloatingIP | None:
    """A floating IP; None if its address is none.

    :param devices: ids of servers by their ports, where Neutron shows none
    """
    address = _ip_in(entry.floating_ip_address)
    if address is None:
        return None
    description = "" if entry.description is None else entry.description
    mark, goes_with = marks.mark_in_description(description)
    device_id = None
    if entry.port_id is not None:
        port = text(entry.port_id)
        # A port that no server has is no device's, but not free either.
        device_id = entry.shown_device or devices.get(port) or port or _UNKNOWN
    revision = entry.revision_number
    return FloatingIP(
        id=entry.id,
        address=str(address),
        device_id=device_id,
        # Without one Neutron refuses every change, by its 412.
        revision=revision if isinstance(revision, int) else 0,
        mark=mark,
        created=text(entry.created_at).replace("Z", "+00:00") or None,
        goes_with=goes_with or None,
    )
