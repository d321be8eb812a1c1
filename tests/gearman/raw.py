"""Connections to a job server that send and receive single packets."""

import socket

from poolmgr.gearman.endpoint import Address
from poolmgr.gearman.protocol import Packet, PacketType, Parser, encode
from tests.gearman_workers import TIMEOUT


class RawPeer:
    """A client or worker that may send what poolmgr's refuse to send."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(
            (address.host, address.port), TIMEOUT
        )
        self._parser = Parser()
        self._packets: list[Packet] = []

    def __enter__(self) -> "RawPeer":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def send(self, kind: PacketType, *args: bytes) -> None:
        """Send a packet."""
        self._socket.sendall(encode(kind, *args))

    def receive(self) -> Packet:
        """Wait for a packet."""
        while not self._packets:
            data = self._socket.recv(65536)
            assert data, "the job server has closed the connection"
            self._packets += self._parser.feed(data)
        return self._packets.pop(0)

    def ask(self, kind: PacketType, *args: bytes) -> Packet:
        """Send a packet and receive one."""
        self.send(kind, *args)
        return self.receive()

    def submit(self, unique: bytes, payload: bytes = b"x") -> bytes:
        """Submit a foreground job of "f" and return its handle."""
        created = self.ask(PacketType.SUBMIT_JOB, b"f", unique, payload)
        assert created.type is PacketType.JOB_CREATED
        return created.args[0]

    def received_nothing(self) -> bool:
        """Return whether the server sent no packet before an ECHO_RES."""
        end = (PacketType.ECHO_RES, [b"end"])
        return self.ask(PacketType.ECHO_REQ, b"end") == end

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
