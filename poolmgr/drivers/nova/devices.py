"""What Nova shows of servers, and the devices that they are."""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from poolmgr.drivers.base import Device, Status
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.api import Entry, objects, text
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.text import one_line
from poolmgr.text.secrecy import masked

IP = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Longest text of a fault that is kept, in characters.
_LONGEST_FAULT = 500
#: A fault without a text.
NO_REASON = "Nova gave no reason"
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

    @property
    def is_whole(self) -> bool:
        """Whether Nova tells its name and its mark; not of a cell that is
        down."""
        return bool(self.name) and self.mark is not marks.UNREADABLE


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


def _fault(server: Server) -> str:
    if server.status != "ERROR":
        return f"it is {server.status}"
    fault = server.fault
    message = fault.get("message") if isinstance(fault, Mapping) else fault
    said = masked(text(message).strip())
    return one_line(said, _LONGEST_FAULT) or NO_REASON


def _entries(
    addresses: object, wanted: str | None
) -> Iterator[Mapping[str, Any]]:
    """The addresses in a network; a floating IP is in its port's."""
    networks = addresses if isinstance(addresses, Mapping) else {}
    for network, entries in networks.items():
        if wanted in (None, network):
            yield from objects(entries)


def address_of(addresses: object, settings: NovaSettings) -> str | None:
    """The address that clients reach a server by; None while it has none.

    None is ever probed.

    :param addresses: a server's ``addresses``, as Nova shows them;
        https://docs.openstack.org/api-ref/compute/#show-server-details
    :param settings: which of them it is
    """
    floating: list[IP] = []
    fixed: list[IP] = []
    for entry in _entries(addresses, settings.address_network):
        ip = _ip_in(entry.get("addr"))
        if ip is None or str(ip.version) != settings.address_version:
            continue
        is_floating = entry.get("OS-EXT-IPS:type") == "floating"
        (floating if is_floating else fixed).append(ip)
    public = [ip for ip in fixed if ip.is_global]
    chosen = [*floating, *public, *fixed]
    if settings.address_type == "fixed":
        chosen = fixed
    elif settings.address_type == "floating":
        # One of its own comes when the device is active, not before.
        chosen = chosen if settings.device_floating_ip else floating
    return str(chosen[0]) if chosen else None


def _ip_in(text: object) -> IP | None:
    """The address that a field has; None if it has none."""
    try:
        return ipaddress.ip_address(str(text))
    except ValueError:
        return None
