"""Convert Nova's servers into devices."""

import ipaddress
from dataclasses import dataclass

import msgspec

from poolmgr.drivers.base import Device, Status
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.api import Entry
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.text import one_line
from poolmgr.text.secrecy import masked

#: Longest text of a fault that is kept, in characters.
_LONGEST_FAULT = 500
# With deferred deletion, Nova still lists what it has yet to reclaim.
_GONE = ("DELETED", "SOFT_DELETED")
# Any other status, such as UNKNOWN, says nothing about the device: the driver
# waits for the next one.
# https://docs.openstack.org/api-guide/compute/server_concepts.html
_ACTIVE = (
    *("ACTIVE", "HARD_REBOOT", "MIGRATING", "PASSWORD", "REBOOT", "RESIZE"),
    "VERIFY_RESIZE",
)
_FAILED = (
    *("ERROR", "PAUSED", "REBUILD", "RESCUE", "REVERT_RESIZE", "SHELVED"),
    *("SHELVED_OFFLOADED", "SHUTOFF", "SUSPENDED"),
)


class _Fault(msgspec.Struct, gc=False):
    """The fault of a server."""

    message: str | None = None


class _Address(msgspec.Struct, gc=False):
    """An address of a server."""

    addr: str
    kind: str | None = msgspec.field(default=None, name="OS-EXT-IPS:type")

    def __post_init__(self) -> None:
        # An entry with an invalid address cannot be decoded.
        ipaddress.ip_address(self.addr)


Addresses = dict[str, list[_Address]]
IP = ipaddress.IPv4Address | ipaddress.IPv6Address


class Server(Entry, gc=False):
    """A server in Nova's answers.

    https://docs.openstack.org/api-ref/compute/#list-servers-detailed

    If its cell is down, Nova shows it without name and metadata.  It cannot
    be decoded then, because nobody knows whose it is:
    https://docs.openstack.org/api-guide/compute/down_cells.html
    """

    name: str
    status: str
    metadata: dict[str, str]
    created: str
    addresses: Addresses
    fault: _Fault | None = None


@dataclass(frozen=True)
class NovaDevice(Device):
    """A device of this driver.

    :ivar own_ip: whether a floating IP belongs to it
    """

    own_ip: bool = False


def device_of(server: Server, settings: NovaSettings) -> NovaDevice | None:
    """Return the device that a server is, or None if the server is deleted.

    :param settings: choose the device's address
    """
    if server.status in _GONE:
        return None
    status: Status = "building"
    if server.status in _ACTIVE:
        status = "active"
    elif server.status in _FAILED:
        status = "failed"
    return NovaDevice(
        id=server.id,
        name=server.name,
        status=status,
        address=_choose_address(server.addresses, settings),
        created=server.created.replace("Z", "+00:00"),
        fault=_fault_of(server) if status == "failed" else None,
        mark=marks.mark_in(server.metadata),
        own_ip=marks.OWN_IP.items() <= server.metadata.items(),
    )


def _fault_of(server: Server) -> str | None:
    if server.status != "ERROR":
        return f"it is {server.status}"
    message = server.fault.message if server.fault else None
    return one_line(masked(message or "").strip(), _LONGEST_FAULT) or None


def _choose_address(
    addresses: Addresses, settings: NovaSettings
) -> str | None:
    """Return the address for clients, or None while there is none."""
    found: list[tuple[str | None, IP]] = [
        (entry.kind, ipaddress.ip_address(entry.addr))
        for network, entries in addresses.items()
        if settings.address_network in (None, network)
        for entry in entries
    ]
    version = settings.address_version
    found = [(kind, ip) for kind, ip in found if str(ip.version) == version]
    floating = [ip for kind, ip in found if kind == "floating"]
    fixed = [ip for kind, ip in found if kind != "floating"]
    kind = settings.address_type
    public = [ip for ip in fixed if ip.is_global]
    candidates = [*floating, *public, *fixed]
    if kind == "fixed":
        candidates = fixed
    elif kind == "floating" and not settings.device_floating_ip:
        # A floating IP of its own is attached after the device became active,
        # so until then a device that has one may have any address.
        candidates = floating
    return str(candidates[0]) if candidates else None
