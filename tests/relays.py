"""Relays between a worker and its job server that interfere."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from poolmgr.gearman.endpoint import Address

#: The start of an answer on the wire.
WORK_COMPLETE = b"\0REQ\0\0\0\x0d"
#: The start of a job on the wire.
JOB_ASSIGN_UNIQ = b"\0RES\0\0\0\x1f"

Filter = Callable[[bytes], bytes | None]


class Relay:
    """Passes data on in both directions until it is cut.

    :param server: the server's address
    :param to_server: filters data from the worker; returns the data to pass
        on, or None to close the connection
    :param to_worker: filters data from the server
    """

    def __init__(
        self,
        server: Address,
        to_server: Filter = bytes,
        to_worker: Filter = bytes,
    ) -> None:
        self._server = server
        self._to_server = to_server
        self._to_worker = to_worker
        self._listener = socket.create_server(("127.0.0.1", 0))
        # A slow filter slows the sender if little is buffered here.
        self._listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024
        )
        self.address = Address("127.0.0.1", self._listener.getsockname()[1])
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut(self) -> None:
        """Close all connections; new ones are accepted."""
        for pair in self._pairs:
            for sock in pair:
                _shut(sock)

    def close(self) -> None:
        """Close it."""
        _shut(self._listener)
        self._threads[0].join()
        self._listener.close()
        self.cut()
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                worker, _address = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(
                    (self._server.host, self._server.port)
                )
            except OSError:
                worker.close()
                continue
            self._pairs.append((worker, server))
            for source, sink, change in (
                (worker, server, self._to_server),
                (server, worker, self._to_worker),
            ):
                thread = threading.Thread(
                    target=_pump, args=(source, sink, change)
                )
                self._threads.append(thread)
                thread.start()


def _pump(source: socket.socket, sink: socket.socket, change: Filter) -> None:
    with source:
        try:
            while data := source.recv(65536):
                passed = change(data)
                if passed is None:
                    break
                sink.sendall(passed)
        except OSError:
            pass
        _shut(sink)
        _shut(source)


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(
    server: Address, to_server: Filter = bytes, to_worker: Filter = bytes
) -> Iterator[Relay]:
    """Run a relay."""
    running = Relay(server, to_server, to_worker)
    try:
        yield running
    finally:
        running.close()
