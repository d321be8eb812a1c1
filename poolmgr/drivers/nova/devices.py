"""What Nova shows of a server, and the device that it is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from msgspec import Raw

from poolmgr.drivers.base import Device, Status
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.addresses import AddressRule
from poolmgr.drivers.nova.calls import decoded
from poolmgr.drivers.nova.entries import Entry, text
from poolmgr.text import one_line
from poolmgr.text.secrecy import masked

#: Longest text of a fault that is kept, in characters.
_LONGEST_FAULT = 500
#: A fault without a text.
NO_REASON = "Nova gave no reason"
_GONE = ("DELETED", "SOFT_DELETED")
# What is none of these, as UNKNOWN of a cell that cannot be asked at present,
# says nothing of the device: it is waited for.
# https://docs.openstack.org/api-guide/compute/server_concepts.html
_STATUSES: dict[str, Status] = {
    "BUILD": "building",
    "ACTIVE": "active",
    "HARD_REBOOT": "active",
    "MIGRATING": "active",
    "PASSWORD": "active",
    "REBOOT": "active",
    "RESIZE": "active",
    "VERIFY_RESIZE": "active",
    "ERROR": "failed",
    "PAUSED": "failed",
    "REBUILD": "failed",
    "RESCUE": "failed",
    "REVERT_RESIZE": "failed",
    "SHELVED": "failed",
    "SHELVED_OFFLOADED": "failed",
    "SHUTOFF": "failed",
    "SUSPENDED": "failed",
}


class Server(Entry, gc=False):
    """What is read of a server.

    https://docs.openstack.org/api-ref/compute/#list-servers-detailed
    """

    name: Any = None
    status: Any = None
    addresses: Raw = Raw(b"null")
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
    shown = text("servers", server, "status")
    if shown in _GONE:
        return None
    status = _STATUSES.get(shown, "building")
    return NovaDevice(
        id=server.id,
        name=text("servers", server, "name"),
        status=status,
        address=rule.choose(decoded(server.addresses, Any)),
        created=text("servers", server, "created").replace("Z", "+00:00"),
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
    said = message.strip() if isinstance(message, str) else ""
    return one_line(masked(said), _LONGEST_FAULT) or NO_REASON
