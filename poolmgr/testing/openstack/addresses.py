"""Addresses to give out."""

import ipaddress
import itertools


class Exhausted(Exception):
    """No address is left."""


class AddressPool:
    """The addresses of a subnet, given out in turn.

    :param cidr: the subnet; its first address is the gateway's
    """

    def __init__(self, cidr: str) -> None:
        self.network = ipaddress.ip_network(cidr)
        self.version = self.network.version
        self.gateway = str(self.network[1])
        # Neither the network's own address nor, in IPv4, the broadcast's.
        last = self.network.num_addresses - (1 if self.version == 4 else 0)
        self._size = max(0, last - 2)
        self._taken: set[str] = set()
        self._next = 0

    def take(self) -> str:
        """An address that nobody has.

        :raises Exhausted: all are taken
        """
        if len(self._taken) >= self._size:
            raise Exhausted(str(self.network))
        for number in itertools.count(self._next):
            address = str(self.network[2 + number % self._size])
            if address not in self._taken:
                break
        self._next = (number + 1) % self._size
        self._taken.add(address)
        return address

    def give(self, address: str) -> None:
        """Put an address back."""
        self._taken.discard(address)
