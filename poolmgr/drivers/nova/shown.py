"""What Nova and Neutron show, and the devices and floating IPs that it is."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from poolmgr.drivers.base import Device, FloatingIP, Status
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.calls import Entry, objects, text
from poolmgr.drivers.nova.settings import AddressType
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


@dataclass(frozen=True)
class AddressRule:
    """Says which address of a server is answered; none is ever probed.

    :ivar network: name of the network it has to be of, None for any
    :ivar version: 4 or 6
    :ivar kind: "floating", "fixed", or "best": a floating one, else a public
        one, else the first fixed one
    """

    network: str | None = None
    version: int = 4
    kind: AddressType = "best"

    def choose(self, addresses: object) -> str | None:
        """The address, None while there is none that will do.

        :param addresses: a server's ``addresses``, as Nova shows them;
            https://docs.openstack.org/api-ref/compute/#show-server-details
        """
        found: dict[bool, list[str]] = {True: [], False: []}
        networks = addresses if isinstance(addresses, Mapping) else {}
        for network, entries in networks.items():
            # A floating IP is listed with the network of its port.
            if self.network in (None, network):
                for entry in objects(entries):
                    is_floating = entry.get("OS-EXT-IPS:type") == "floating"
                    address = self._usual_spelling(entry.get("addr"))
                    found[is_floating] += [address] if address else []
        floating, fixed = found[True], found[False]
        chosen = {
            "floating": floating,
            "fixed": fixed,
            "best": [*floating, *filter(is_public, fixed), *fixed],
        }[self.kind]
        return chosen[0] if chosen else None

    def _usual_spelling(self, address: object) -> str | None:
        """The address as it is written; None if it is of another version."""
        try:
            ip = ipaddress.ip_address(str(address))
        except ValueError:
            return None
        return str(ip) if ip.version == self.version else None


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


def device_of(server: Server, rule: AddressRule) -> NovaDevice | None:
    """The device that a server is; None if it is gone.

    :param rule: which of its addresses is the device's
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
        address=rule.choose(server.addresses),
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


def floating_ip_of(entry: ShownIP, devices: Mapping[str, str]) -> FloatingIP:
    """A floating IP.

    :param devices: ids of servers by their ports, where Neutron shows none
    :raises ValueError: its address is none
    """
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
        address=str(ipaddress.ip_address(entry.floating_ip_address)),
        device_id=device_id,
        # Without one Neutron refuses every change, by its 412.
        revision=revision if isinstance(revision, int) else 0,
        mark=mark,
        created=text(entry.created_at).replace("Z", "+00:00") or None,
        goes_with=goes_with or None,
    )
