"""What a fake cloud has, wherever it is kept."""

import ipaddress
import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from poolmgr.drivers.base import FloatingIP
from poolmgr.errors import QuotaExceeded
from poolmgr.identity import Mark

T = TypeVar("T")
Table = Literal["device", "ip"]


@dataclass(frozen=True)
class StoredDevice:
    """A device as it is kept.

    :ivar created: when it was made, in seconds since the epoch
    :ivar ready: when it has booted, likewise
    :ivar fault: why it fails to boot then, None if it does not
    """

    id: str
    name: str
    address: str
    created: float
    ready: float
    fault: str | None
    mark: Mark | None


class Store(Protocol):
    """Devices and floating IPs; called by one thread at a time.

    Each call is atomic, and so is all that is done in a transaction.
    """

    def transaction(self) -> AbstractContextManager[object]:
        """Nobody changes anything while the block runs.

        What was changed in it need not be undone when it raises.
        """

    def close(self) -> None:
        """Let go of it."""

    def count(self, table: Table) -> int:
        """How many there are."""

    def next_number(self, name: str) -> int:
        """The place in a range of addresses that is next; 0 at first."""

    def set_next_number(self, name: str, number: int) -> None:
        """Remember it."""

    def add_device(self, device: StoredDevice) -> bool:
        """Keep a device; False if its address is taken."""

    def devices(
        self, column: str = "", value: str = ""
    ) -> Sequence[StoredDevice]:
        """All devices, or those whose ``id``, ``name`` or ``job`` is this."""

    def devices_of(self, ids: Collection[str]) -> Sequence[StoredDevice]:
        """The devices that have one of these ids."""

    def mark_device(self, id: str, mark: Mark) -> None:
        """Write a device's mark."""

    def delete_device(self, id: str) -> None:
        """Forget a device; its floating IPs are attached to nothing then."""

    def add_ip(self, ip: FloatingIP) -> bool:
        """Keep a floating IP; False if its address is taken."""

    def ips(self, column: str = "", value: str = "") -> Sequence[FloatingIP]:
        """All floating IPs, or those whose ``address``, ``device_id`` or
        ``job`` is this."""

    def change_ip(
        self, ip: FloatingIP, device_id: str | None, mark: Mark | None
    ) -> bool:
        """Write device and mark, and count the revision up.

        :returns: False if its revision is another, and nothing was written
        """

    def delete_ip(self, id: str) -> None:
        """Forget a floating IP."""


class Range:
    """A range of addresses, which are used in turn."""

    def __init__(self, network: ipaddress.IPv4Network) -> None:
        edge = 1 if network.prefixlen < 31 else 0
        self._name = str(network)
        self._first = int(network.network_address) + edge
        self._size = network.num_addresses - 2 * edge

    def take(self, store: Store, add: Callable[[str], T | None]) -> T:
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
