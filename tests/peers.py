"""Misbehaving servers."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from poolmgr.gearman.endpoint import Address
from poolmgr.gearman.protocol import RESPONSE, PacketType, encode


class Peer:
    """A server that treats all connections in the same way.

    :param meet: called with each connection
    :param port: where it listens; any free port if 0
    :ivar times: time of each connection, by the monotonic clock
    """

    def __init__(
        self, meet: Callable[[socket.socket], None], port: int = 0
    ) -> None:
        self._meet = meet
        self._listener = socket.create_server(("127.0.0.1", port))
        self.address = Address("127.0.0.1", self._listener.getsockname()[1])
        self.times: list[float] = []
        self._met: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        """Close it."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for sock in self._met:
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _address = self._listener.accept()
            except OSError:
                return
            self.times.append(time.monotonic())
            self._met.append(sock)
            with suppress(OSError):
                self._meet(sock)


def closes(sock: socket.socket) -> None:
    """Close the connection at once."""
    sock.close()


def is_silent(sock: socket.socket) -> None:
    """Send nothing."""


def hangs_at_a_grab(sock: socket.socket) -> None:
    """Accept a worker, and fall silent when it asks for a job."""
    heard = b""
    while encode(PacketType.GRAB_JOB_UNIQ) not in heard:
        data = sock.recv(65536)
        if not data:
            return
        if encode(PacketType.ECHO_REQ) in data:
            sock.sendall(encode(PacketType.ECHO_RES, b"", magic=RESPONSE))
        heard += data


def says(data: bytes) -> Callable[[socket.socket], None]:
    """Return a behaviour: send data, then nothing."""
    return lambda sock: sock.sendall(data)


@contextmanager
def peer(
    meet: Callable[[socket.socket], None], port: int = 0
) -> Iterator[Peer]:
    """Run a misbehaving server."""
    server = Peer(meet, port)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def black_hole() -> Iterator[Address]:
    """Yield the address of a server with a full backlog: it answers no SYN."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        where = listener.getsockname()
        for _connection in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect(where)
        yield Address(*where)


@contextmanager
def peers(said: Iterable[bytes]) -> Iterator[list[Peer]]:
    """Run a server for each of these, which sends it on every connection."""
    with ExitStack() as stack:
        yield [stack.enter_context(peer(says(data))) for data in said]
