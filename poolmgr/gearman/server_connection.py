"""A connection of the built-in job server."""

import asyncio
import socket

from poolmgr.gearman.protocol import (
    REQUEST,
    RESPONSE,
    SUBMIT,
    PacketType,
    Parser,
    Priority,
    ProtocolError,
    encode,
)
from poolmgr.gearman.served_jobs import Jobs
from poolmgr.gearman.server_admin import answer_line
from poolmgr.text import decoded

T = PacketType

_SUBMIT = {kind: submitted for submitted, kind in SUBMIT.items()}
_FINAL = (T.WORK_COMPLETE, T.WORK_FAIL, T.WORK_EXCEPTION)
_PASSED_ON = (*_FINAL, T.WORK_STATUS, T.WORK_DATA, T.WORK_WARNING)
# No job here has a reducer; for such GRAB_JOB_ALL is as GRAB_JOB_UNIQ.
_GRABS = (T.GRAB_JOB, T.GRAB_JOB_UNIQ, T.GRAB_JOB_ALL)


class ServerConnection(asyncio.Protocol):
    """A worker, a client, or somebody who asks how things are.

    :param jobs: the server's jobs
    :param connections: all its connections; this one is in it while it lasts
    """

    def __init__(
        self, jobs: Jobs, connections: "set[ServerConnection]"
    ) -> None:
        self._jobs = jobs
        self._connections = connections
        self._parser = Parser(magic=REQUEST)
        self._text: bytes | None = None
        self._first = True
        self._transport: asyncio.Transport | None = None
        self._asleep = False
        self._wants_exceptions = False
        self.functions: list[bytes] = []
        self.client_id = "-"
        self.number = 0
        self.peer = "-"

    def send(self, kind: PacketType, *args: bytes) -> None:
        """Send a packet, unless the connection is gone."""
        if kind is T.WORK_EXCEPTION and not self._wants_exceptions:
            kind, args = T.WORK_FAIL, args[:1]
        if self._transport is not None:
            self._transport.write(encode(kind, *args, magic=RESPONSE))

    def abort(self) -> None:
        """End the connection at once."""
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
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._connections.discard(self)
        self._jobs.forget_client(self)
        self._requeue()

    def data_received(self, data: bytes) -> None:
        # A packet starts with NUL, a line of the admin protocol with none.
        if self._first and data[:1] != b"\0":
            self._text = b""
        self._first = False
        if self._text is not None:
            self._lines(self._text + data)
            return
        try:
            for kind, args in self._parser.feed(data):
                self._received(kind, args)
        except ProtocolError:
            self.abort()

    def _lines(self, text: bytes) -> None:
        assert self._transport is not None  # noqa: S101
        *lines, self._text = text.split(b"\n")
        for line in lines:
            answer = answer_line(decoded(line), self._jobs, self._connections)
            self._transport.write(answer.encode())

    # -- packets ------------------------------------------------------------

    def _received(self, kind: PacketType, args: list[bytes]) -> None:
        if kind in _SUBMIT:
            self._submit(*_SUBMIT[kind], *args)
        elif kind in _PASSED_ON:
            self._pass_on(kind, args)
        elif kind in _GRABS:
            self._grab(kind)
        else:
            self._received_other(kind, args)

    def _received_other(self, kind: PacketType, args: list[bytes]) -> None:
        match kind:
            case T.CAN_DO:
                if args[0] not in self.functions:
                    self.functions.append(args[0])
            case T.CANT_DO:
                if args[0] in self.functions:
                    self.functions.remove(args[0])
                self._requeue(args[0])
            case T.RESET_ABILITIES:
                self.functions.clear()
                self._requeue()
            case T.PRE_SLEEP:
                self._asleep = True
                self._wake()
            case T.ECHO_REQ:
                self.send(T.ECHO_RES, *args)
            case T.SET_CLIENT_ID:
                self.client_id = decoded(args[0])
            case T.OPTION_REQ if args[0] == b"exceptions":
                self._wants_exceptions = True
                self.send(T.OPTION_RES, args[0])
            case T.OPTION_REQ:
                self.send(T.ERROR, b"UNKNOWN_OPTION", b"Unknown+option")
            case T.GET_STATUS:
                job = self._jobs.get(args[0])
                status = job.status if job else [b"0"] * 4
                self.send(T.STATUS_RES, args[0], *status)
            case T.GET_STATUS_UNIQUE:
                job = self._jobs.named(args[0])
                status = job.status if job else [b"0"] * 4
                clients = b"%d" % len(job.clients if job else ())
                self.send(T.STATUS_RES_UNIQUE, args[0], *status, clients)
            case _:
                self.send(T.ERROR, b"INVALID_PACKET", kind.name.encode())

    def _wake(self) -> None:
        """Call the workers that sleep and have a job now."""
        for each in self._connections:
            if each._asleep and self._jobs.waits(each.functions):
                each._asleep = False
                each.send(T.NOOP)

    def _requeue(self, function: bytes | None = None) -> None:
        self._jobs.requeue(self, function)
        self._wake()

    def _submit(
        self,
        priority: Priority,
        background: bool,
        function: bytes,
        unique: bytes,
        payload: bytes,
    ) -> None:
        client = None if background else self
        job = self._jobs.submit(function, unique, payload, priority, client)
        self.send(T.JOB_CREATED, job.handle)
        self._wake()

    def _grab(self, kind: PacketType) -> None:
        self._asleep = False
        job = self._jobs.grab(self.functions, self)
        if job is None:
            self.send(T.NO_JOB)
            return
        unique = () if kind is T.GRAB_JOB else (job.unique,)
        assign = T.JOB_ASSIGN if kind is T.GRAB_JOB else T.JOB_ASSIGN_UNIQ
        self.send(assign, job.handle, job.function, *unique, job.payload)

    def _pass_on(self, kind: PacketType, args: list[bytes]) -> None:
        """Pass on to the clients what a worker says of its job."""
        job = self._jobs.get(args[0])
        if job is None or job.worker is not self:
            self.send(T.ERROR, b"JOB_NOT_FOUND", b"Job+not+found")
            return
        for client in job.clients:
            client.send(kind, *args)
        if kind is T.WORK_STATUS:
            job.progress = args[1], args[2]
        if kind in _FINAL:
            self._jobs.end(job)
