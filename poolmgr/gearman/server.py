"""A job server for demonstrations and tests; **not for production**.

It behaves as gearmand does where failures hide, but keeps nothing on disk,
knows nobody's rights and is not fast.
"""

import argparse
import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import Callable

from poolmgr.gearman.address import Address, host_name
from poolmgr.gearman.jobs import Jobs, Priority, ServedJob
from poolmgr.gearman.protocol import (
    REQUEST,
    RESPONSE,
    PacketType,
    Parser,
    ProtocolError,
    encode,
)
from poolmgr.text import decoded

T = PacketType

_SUBMIT: dict[PacketType, tuple[Priority, bool]] = {
    T.SUBMIT_JOB_LOW: ("low", False),
    T.SUBMIT_JOB: ("normal", False),
    T.SUBMIT_JOB_HIGH: ("high", False),
    T.SUBMIT_JOB_LOW_BG: ("low", True),
    T.SUBMIT_JOB_BG: ("normal", True),
    T.SUBMIT_JOB_HIGH_BG: ("high", True),
}
_FINAL = (T.WORK_COMPLETE, T.WORK_FAIL, T.WORK_EXCEPTION)
_PASSED_ON = (
    *_FINAL,
    T.WORK_STATUS,
    T.WORK_DATA,
    T.WORK_WARNING,
)


class JobServer:
    """The server.

    :param host: where to listen
    :param port: where to listen; 0 for any port that is free
    :param tls: what to speak TLS with
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address = Address(host, port)
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._progress: dict[bytes, tuple[bytes, bytes]] = {}
        self.jobs = Jobs(b"H:%s" % host_name().encode())

    async def start(self) -> None:
        """Listen; :attr:`address` has the port then."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self),
            self.address.host,
            self.address.port,
            ssl=self._tls,
        )
        port = self._server.sockets[0].getsockname()[1]
        self.address = Address(self.address.host, port)

    async def close(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        # The transports close in the loop's next turns.
        while self._connections:
            await asyncio.sleep(0)

    # -- called by the connections ------------------------------------------

    def opened(self, connection: "_Connection") -> None:
        """A connection was made."""
        self._connections.add(connection)

    def closed(self, connection: "_Connection") -> None:
        """A connection has ended: its jobs go to others."""
        self._connections.discard(connection)
        self.jobs.forget_client(connection)
        self.jobs.requeue(connection)
        self.wake()

    def wake(self) -> None:
        """Call the workers that sleep and have a job now."""
        for connection in self._connections:
            if connection.asleep and self.jobs.waits(connection.functions):
                connection.asleep = False
                connection.send(T.NOOP)

    def submit(
        self, connection: "_Connection", kind: PacketType, args: list[bytes]
    ) -> None:
        """A client has a job."""
        priority, background = _SUBMIT[kind]
        client = None if background else connection
        function, unique, payload = args
        job = self.jobs.submit(function, unique, payload, priority, client)
        connection.send(T.JOB_CREATED, job.handle)
        self.wake()

    def pass_on(
        self, worker: "_Connection", kind: PacketType, args: list[bytes]
    ) -> bool:
        """A worker tells of a job; False if it has no such job."""
        job = self.jobs.get(args[0])
        if job is None or job.worker is not worker:
            return False
        for client in job.clients:
            assert isinstance(client, _Connection)  # noqa: S101
            if kind is not T.WORK_EXCEPTION or client.wants_exceptions:
                client.send(kind, *args)
            else:
                client.send(T.WORK_FAIL, args[0])
        if kind is T.WORK_STATUS:
            self._progress[args[0]] = (args[1], args[2])
        if kind in _FINAL:
            self._progress.pop(args[0], None)
            self.jobs.end(job)
        return True

    def status_of(self, job: ServedJob | None) -> list[bytes]:
        """What GET_STATUS is answered of a job, after its handle."""
        if job is None:
            return [b"0"] * 4
        running = b"1" if job.worker else b"0"
        progress = self._progress.get(job.handle, (b"0", b"0"))
        return [b"1", running, *progress]

    def command(self, line: str) -> str:
        """Answer a line of the admin protocol."""
        words = line.split()
        if words == ["status"]:
            return self._status()
        if words == ["prioritystatus"]:
            return self._priorities()
        if words == ["workers"]:
            return self._workers()
        if words == ["version"]:
            return "OK poolmgr-built-in\n"
        if words == ["show", "jobs"]:
            return self._show(_job_line)
        if words == ["show", "unique", "jobs"]:
            return self._show(lambda job: job.unique)
        if words[:2] == ["cancel", "job"] and len(words) == 3:
            return self._cancel(words[2].encode())
        return "ERR UNKNOWN_COMMAND Unknown+server+command\r\n"

    # -- inside -------------------------------------------------------------

    def _status(self) -> str:
        counts = self.jobs.counts()
        able = [f for c in self._connections for f in c.functions]
        lines = []
        for function in sorted({*counts, *able}):
            total, running = counts.get(function, (0, 0))
            lines.append(
                f"{decoded(function)}\t{total}\t{running}"
                f"\t{able.count(function)}\n"
            )
        return "".join(lines) + ".\n"

    def _priorities(self) -> str:
        lines = [
            f"{decoded(function)}\t{high}\t{normal}\t{low}\t0\n"
            for function, (high, normal, low) in self.jobs.waiting().items()
        ]
        return "".join(lines) + ".\n"

    def _workers(self) -> str:
        lines = [
            f"{c.number} {c.peer} {c.client_id} : "
            f"{' '.join(map(decoded, c.functions))}\n"
            for c in self._connections
        ]
        return "".join(lines) + ".\n"

    def _show(self, line: Callable[[ServedJob], bytes]) -> str:
        return "".join(f"{decoded(line(j))}\n" for j in self.jobs) + ".\n"

    def _cancel(self, handle: bytes) -> str:
        job = self.jobs.get(handle)
        if job is None:
            return "ERR UNKNOWN_JOB\r\n"
        for client in job.clients:
            assert isinstance(client, _Connection)  # noqa: S101
            client.send(T.WORK_FAIL, handle)
        # As with gearmand, one that runs is still heard to its end.
        job.cancelled = True
        return "OK\r\n"


def _job_line(job: ServedJob) -> bytes:
    """Handle, retries, whether it is ignored, whether it waits."""
    waits = job.worker is None and not job.cancelled
    return b"%s\t0\t%d\t%d" % (job.handle, job.cancelled, waits)


class _Connection(asyncio.Protocol):
    """A worker, a client, or somebody who asks how things are."""

    def __init__(self, server: JobServer) -> None:
        self._server = server
        self._parser = Parser(magic=REQUEST)
        self._text: bytearray | None = None
        self._first = True
        self._transport: asyncio.Transport | None = None
        self.functions: list[bytes] = []
        self.asleep = False
        self.wants_exceptions = False
        self.client_id = "-"
        self.number = 0
        self.peer = "-"

    def send(self, kind: PacketType, *args: bytes) -> None:
        if self._transport is not None:
            self._transport.write(encode(kind, *args, magic=RESPONSE))

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # -- called by asyncio --------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = sock.fileno()
        self.peer = str(transport.get_extra_info("peername")[0])
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        # A packet starts with NUL, a line of the admin protocol with none.
        if self._first and data[:1] != b"\0":
            self._text = bytearray()
        self._first = False
        if self._text is not None:
            self._lines(data)
            return
        try:
            for kind, args in self._parser.feed(data):
                self._received(kind, args)
        except ProtocolError:
            self.abort()

    def _lines(self, data: bytes) -> None:
        assert self._text is not None  # noqa: S101
        assert self._transport is not None  # noqa: S101
        self._text += data
        *lines, rest = self._text.split(b"\n")
        self._text = rest
        for line in lines:
            answer = self._server.command(decoded(bytes(line)))
            self._transport.write(answer.encode())

    # -- packets ------------------------------------------------------------

    def _received(self, kind: PacketType, args: list[bytes]) -> None:
        if kind in _SUBMIT:
            self._server.submit(self, kind, args)
        elif kind in _PASSED_ON:
            if not self._server.pass_on(self, kind, args):
                self.send(T.ERROR, b"JOB_NOT_FOUND", b"Job+not+found")
        elif kind in _GRABS:
            self._grab(kind)
        elif kind in _HANDLERS:
            _HANDLERS[kind](self, args)
        else:
            self.send(T.ERROR, b"INVALID_PACKET", kind.name.encode())

    def _grab(self, kind: PacketType) -> None:
        self.asleep = False
        job = self._server.jobs.grab(self.functions, self)
        if job is None:
            self.send(T.NO_JOB)
            return
        unique = () if kind is T.GRAB_JOB else (job.unique,)
        assign = T.JOB_ASSIGN if kind is T.GRAB_JOB else T.JOB_ASSIGN_UNIQ
        self.send(assign, job.handle, job.function, *unique, job.payload)

    def _can_do(self, args: list[bytes]) -> None:
        if args[0] not in self.functions:
            self.functions.append(args[0])

    def _cant_do(self, args: list[bytes]) -> None:
        if args[0] in self.functions:
            self.functions.remove(args[0])
        self._server.jobs.requeue(self, args[0])
        self._server.wake()

    def _reset(self, args: list[bytes]) -> None:
        self.functions.clear()
        self._server.jobs.requeue(self)
        self._server.wake()

    def _sleep(self, args: list[bytes]) -> None:
        self.asleep = True
        self._server.wake()

    def _echo(self, args: list[bytes]) -> None:
        self.send(T.ECHO_RES, *args)

    def _name(self, args: list[bytes]) -> None:
        self.client_id = decoded(args[0])

    def _option(self, args: list[bytes]) -> None:
        if args[0] == b"exceptions":
            self.wants_exceptions = True
            self.send(T.OPTION_RES, args[0])
        else:
            self.send(T.ERROR, b"UNKNOWN_OPTION", b"Unknown+option")

    def _get_status(self, args: list[bytes]) -> None:
        job = self._server.jobs.get(args[0])
        self.send(T.STATUS_RES, args[0], *self._server.status_of(job))

    def _get_status_unique(self, args: list[bytes]) -> None:
        job = self._server.jobs.named(args[0])
        clients = b"%d" % len(job.clients) if job else b"0"
        status = self._server.status_of(job)
        self.send(T.STATUS_RES_UNIQUE, args[0], *status, clients)


# No job here has a reducer; for such GRAB_JOB_ALL is as GRAB_JOB_UNIQ.
_GRABS = (T.GRAB_JOB, T.GRAB_JOB_UNIQ, T.GRAB_JOB_ALL)
_HANDLERS: dict[PacketType, Callable[[_Connection, list[bytes]], None]] = {
    T.CAN_DO: _Connection._can_do,
    T.CANT_DO: _Connection._cant_do,
    T.RESET_ABILITIES: _Connection._reset,
    T.PRE_SLEEP: _Connection._sleep,
    T.ECHO_REQ: _Connection._echo,
    T.SET_CLIENT_ID: _Connection._name,
    T.OPTION_REQ: _Connection._option,
    T.GET_STATUS: _Connection._get_status,
    T.GET_STATUS_UNIQUE: _Connection._get_status_unique,
}


async def serve(host: str, port: int) -> None:
    """Run a server until SIGTERM, SIGINT or SIGHUP."""
    server = JobServer(host, port)
    await server.start()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    print(
        f"job server for demonstrations and tests (not for production) "
        f"on {server.address}",
        flush=True,
    )
    await ended.wait()
    await server.close()


def main() -> None:
    """``python -m poolmgr.gearman.server``."""
    parser = argparse.ArgumentParser(
        prog="python -m poolmgr.gearman.server",
        description="A Gearman job server for demonstrations and tests: it "
        "keeps nothing on disk and knows nobody's rights. For production "
        "use gearmand.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4730)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.host, options.port))


if __name__ == "__main__":
    main()
