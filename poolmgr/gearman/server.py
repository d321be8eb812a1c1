"""A job server for demonstrations and tests; **not for production**.

It behaves as gearmand does where failures hide, but keeps nothing on disk,
knows nobody's rights and is not fast.
"""

import argparse
import asyncio
import contextlib
from collections.abc import Iterable
from typing import cast

from poolmgr.gearman.address import Address, host_name
from poolmgr.gearman.protocol import (
    REQUEST,
    RESPONSE,
    SUBMIT,
    PacketType,
    Parser,
    ProtocolError,
    encode,
)
from poolmgr.gearman.served_jobs import Jobs, status_of

T = PacketType

_SUBMIT = {kind: submitted for submitted, kind in SUBMIT.items()}
_FINAL = (T.WORK_COMPLETE, T.WORK_FAIL, T.WORK_EXCEPTION)
_PASSED_ON = (*_FINAL, T.WORK_STATUS, T.WORK_DATA, T.WORK_WARNING)


class JobServer:
    """The server.

    :param host: where to listen
    :param port: where to listen; 0 for any port that is free
    :ivar address: where it listens
    :ivar jobs: its jobs
    :ivar connections: to its workers and clients
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.address = Address(host, port)
        self.jobs = Jobs(b"H:%s" % host_name().encode())
        self.connections: set[ServerConnection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; :attr:`address` has the port then."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: ServerConnection(self),
            self.address.host,
            self.address.port,
        )
        port = self._server.sockets[0].getsockname()[1]
        self.address = Address(self.address.host, port)

    async def close(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        # The transports close in the loop's next turns.
        while self.connections:
            await asyncio.sleep(0)

    def wake(self) -> None:
        """Call the workers that sleep and have a job now."""
        for each in self.connections:
            if each.asleep and self.jobs.next(each.functions):
                each.asleep = False
                each.send(T.NOOP)


class ServerConnection(asyncio.Protocol):
    """A worker, a client, or somebody who asks how things are.

    :ivar transport: asyncio's end of it
    :ivar functions: what it can do
    :ivar asleep: whether it waits to be called
    """

    transport: asyncio.Transport

    def __init__(self, server: JobServer) -> None:
        self._server = server
        self._jobs = server.jobs
        self._parser = Parser(magic=REQUEST)
        self._begun = False
        self._text: bytes | None = None  # half a line of the admin protocol
        self._client_id = b"-"
        self.functions: dict[bytes, None] = {}
        self.asleep = False

    def send(self, kind: PacketType, *args: bytes) -> None:
        """Send a packet."""
        self.transport.write(encode(kind, *args, magic=RESPONSE))

    # -- called by asyncio --------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._jobs.forget(self)
        self._server.wake()

    def data_received(self, data: bytes) -> None:
        # A packet starts with NUL, a line of the admin protocol with none.
        if not self._begun and data[:1] != b"\0":
            self._text = b""
        self._begun = True
        if self._text is not None:
            *lines, self._text = (self._text + data).split(b"\n")
            for line in lines:
                self.transport.write(self._answer(line.split()))
            return
        try:
            for kind, args in self._parser.feed(data):
                self._received(kind, args)
        except ProtocolError:
            self.transport.abort()

    # -- packets ------------------------------------------------------------

    def _received(self, kind: PacketType, args: list[bytes]) -> None:
        match kind:
            case _ if kind in _SUBMIT:
                function, unique, payload = args
                priority, background = _SUBMIT[kind]
                client = None if background else self
                created = self._jobs.submit(
                    function, unique, payload, priority, client
                )
                self.send(T.JOB_CREATED, created.handle)
                self._server.wake()
            case _ if kind in _PASSED_ON:
                self._pass_on(kind, args)
            case T.CAN_DO:
                self.functions[args[0]] = None
            case T.GRAB_JOB_UNIQ:
                self._grab()
            case T.PRE_SLEEP:
                self.asleep = True
                self._server.wake()
            case T.ECHO_REQ:
                self.send(T.ECHO_RES, *args)
            case T.SET_CLIENT_ID:
                self._client_id = args[0]
            case T.GET_STATUS:
                job = self._jobs.by_handle.get(args[0])
                self.send(T.STATUS_RES, args[0], *status_of(job)[:-1])
            case T.GET_STATUS_UNIQUE:
                job = self._jobs.named(args[0])
                self.send(T.STATUS_RES_UNIQUE, args[0], *status_of(job))
            case _:
                self.send(T.ERROR, b"INVALID_PACKET", kind.name.encode())

    def _grab(self) -> None:
        self.asleep = False
        job = self._jobs.next(self.functions)
        if job is None:
            self.send(T.NO_JOB)
        else:
            self._jobs.assign(job, self)
            what = job.handle, job.function, job.unique, job.payload
            self.send(T.JOB_ASSIGN_UNIQ, *what)

    def _pass_on(self, kind: PacketType, args: list[bytes]) -> None:
        """Pass on to the clients what a worker says of its job."""
        job = self._jobs.by_handle.get(args[0])
        if job is None or job.worker is not self:
            self.send(T.ERROR, b"JOB_NOT_FOUND", b"Job+not+found")
            return
        for client in job.clients:
            client.send(kind, *args)
        if kind is T.WORK_STATUS:
            job.progress = args[1], args[2]
        if kind in _FINAL:
            self._jobs.end(job)

    # -- the admin protocol -------------------------------------------------

    def _answer(self, words: list[bytes]) -> bytes:
        connections = self._server.connections
        match words:
            case [b"status"]:
                able = [f for c in connections for f in c.functions]
                return _listed(self._jobs.status(able))
            case [b"prioritystatus"]:
                return _listed(self._jobs.priority_status())
            case [b"workers"]:
                return _listed(each._described() for each in connections)
            case [b"version"]:
                return b"OK poolmgr-built-in\n"
            case [b"show", b"jobs"]:
                return _listed(self._jobs.show_jobs())
        return b"ERR UNKNOWN_COMMAND Unknown+server+command\r\n"

    def _described(self) -> bytes:
        number = self.transport.get_extra_info("socket").fileno()
        peer = self.transport.get_extra_info("peername")[0].encode()
        functions = b" ".join(self.functions)
        return b"%d %s %s : %s" % (number, peer, self._client_id, functions)


def _listed(lines: Iterable[bytes]) -> bytes:
    return b"".join(b"%s\n" % line for line in lines) + b".\n"


async def serve(host: str, port: int) -> None:
    """Run a server until it is cancelled."""
    server = JobServer(host, port)
    await server.start()
    print(
        f"job server for demonstrations and tests (not for production) "
        f"on {server.address}",
        flush=True,
    )
    await asyncio.Event().wait()


def main() -> None:
    """``python -m poolmgr.gearman.server``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4730)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.host, options.port))


if __name__ == "__main__":
    main()
