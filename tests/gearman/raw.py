"""A peer that sends packets which our client would refuse to send."""

import socket
import struct

from poolmgr.gearman.endpoint import Address
from poolmgr.gearman.protocol import PacketType, encode
from tests.gearman_workers import TIMEOUT

_HEADER = struct.Struct(">4sII")


class RawPeer:
    """A connection to a job server."""

    def __init__(self, address: Address) -> None:
        self.sock = socket.create_connection(
            (address.host, address.port), TIMEOUT
        )

    def __enter__(self) -> "RawPeer":
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def send(self, kind: PacketType, *args: bytes) -> None:
        """Send a packet."""
        self.sock.sendall(encode(kind, *args))

    def ask(self, kind: PacketType, *args: bytes) -> list[bytes]:
        """Send a packet, and return the arguments of the next that comes."""
        self.send(kind, *args)
        return self.receive()

    def receive(self) -> list[bytes]:
        """The arguments of the next packet."""
        _magic, _kind, length = _HEADER.unpack(self._exactly(_HEADER.size))
        return self._exactly(length).split(b"\0")

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            assert piece, "the job server has closed the connection"
            data += piece
        return data
