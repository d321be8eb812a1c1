"""Ranges of addresses of the fake cloud."""

import ipaddress
import socket
from collections.abc import Callable
from typing import TypeVar

from poolmgr.drivers.fake.database import Database
from poolmgr.errors import QuotaExceeded

T = TypeVar("T")


class Range:
    """A range of addresses, which are used in turn."""

    def __init__(self, network: ipaddress.IPv4Network) -> None:
        edge = 1 if network.prefixlen < 31 else 0
        self._name = str(network)
        self._first = int(network.network_address) + edge
        self._size = network.num_addresses - 2 * edge

    def take(self, store: Database, add: Callable[[str], T | None]) -> T:
        """Add something that has the next address that is free.

        :param add: adds it and returns it; None if the address is not free
        :returns: what was added
        :raises QuotaExceeded: none is free
        """
        start = store.next_number(self._name)
        for number in range(start, start + self._size):
            place = number % self._size
            # In half the time that ipaddress takes.
            address = socket.inet_ntoa((self._first + place).to_bytes(4))
            added = add(address)
            if added is not None:
                store.set_next_number(self._name, (place + 1) % self._size)
                return added
        raise QuotaExceeded(f"no address of {self._name} is left")
