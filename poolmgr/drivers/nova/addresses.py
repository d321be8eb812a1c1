"""Which of a server's addresses is the one that clients reach it by."""

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from poolmgr.drivers.nova.entries import objects
from poolmgr.drivers.nova.settings import AddressType

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
        floating: list[str] = []
        fixed: list[str] = []
        networks = addresses if isinstance(addresses, Mapping) else {}
        for network, entries in networks.items():
            # A floating IP is listed with the network of its port.
            if self.network not in (None, network):
                continue
            for entry in objects(entries):
                address = _of_version(self.version, entry.get("addr"))
                if address is None:
                    continue
                is_floating = entry.get("OS-EXT-IPS:type") == "floating"
                (floating if is_floating else fixed).append(address)
        if self.kind == "floating":
            chosen = floating
        elif self.kind == "fixed":
            chosen = fixed
        elif len(fixed) > 1:
            chosen = floating or list(filter(is_public, fixed)) or fixed
        else:
            # Nothing to choose from; a list has thousands of these.
            chosen = floating or fixed
        return chosen[0] if chosen else None


def _of_version(version: int, address: object) -> str | None:
    """The address in its usual spelling; None if it is none of the version."""
    if not isinstance(address, str):
        return None
    try:
        # It takes the usual spelling of IPv4 only, and a fraction of the time.
        socket.inet_pton(socket.AF_INET, address)
    except (OSError, ValueError):
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return None
        return str(ip) if ip.version == version else None
    return address if version == 4 else None


def is_public(address: str) -> bool:
    """Whether an address is in none of the ranges for private use."""
    ip = ipaddress.ip_address(address)
    return not any(ip.version == n.version and ip in n for n in _PRIVATE)
