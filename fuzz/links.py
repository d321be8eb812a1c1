"""The ends of connections: a worker, a client, and the built-in server."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from unittest import mock

from poolmgr.errors import PoolmgrError
from poolmgr.gearman import (
    Address,
    Assignment,
    Client,
    ConnectionOptions,
    Slots,
    SubmittedJob,
)
from poolmgr.gearman.packet_connection import PacketConnection
from poolmgr.gearman.protocol import RESPONSE, PacketType, encode
from poolmgr.gearman.server import JobServer, ServerConnection
from poolmgr.gearman.worker_connection import WorkerConnection

T = PacketType


def _said(*packets: tuple[Any, ...], magic: bytes = RESPONSE) -> bytes:
    return b"".join(encode(*packet, magic=magic) for packet in packets)


_JOB = (T.JOB_ASSIGN_UNIQ, b"h", b"f", b"u", b"p")
_REQ = b"\0REQ"
SEEDS = [
    b"\0" + _said((T.ECHO_RES, b""), _JOB),
    b"\0" + _said((T.ECHO_RES, b""), (T.NO_JOB,), (T.NOOP,)),
    b"\0" + _said((T.ECHO_RES, b""), _JOB, (T.ERROR, b"c", b"t")),
    b"\1" + _said((T.ECHO_RES, b""), (T.JOB_CREATED, b"h")),
    b"\1" + _said((T.ERROR, b"c", b"t"), (T.WORK_COMPLETE, b"h", b"p")),
    b"\1" + _said((T.STATUS_RES, b"h", b"1", b"1", b"a", b"0")),
    b"\2" + _said((T.CAN_DO, b"f"), (T.GRAB_JOB_UNIQ,), magic=_REQ),
    b"\2" + _said((T.SUBMIT_JOB, b"f", b"u", b"p"), magic=_REQ),
    b"\2"
    + _said(
        (T.CAN_DO, b"f"),
        (T.SUBMIT_JOB, b"f", b"-", b"p"),
        (T.GRAB_JOB_UNIQ,),
        magic=_REQ,
    ),
    b"\2status\nworkers\nshow jobs\ncancel job H:x:1\n",
]
_LOOP = asyncio.new_event_loop()
_OPTIONS = ConnectionOptions(max_packet=1000)


class _Wire(asyncio.Transport):
    """Takes what is written, and the order to end."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """It goes nowhere."""

    def get_write_buffer_size(self) -> int:
        """Everything is out at once."""
        return 0

    def abort(self) -> None:
        """The peer sees to the rest."""
        self.ended = True

    close = abort

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the server asks for."""
        return _Socket() if name == "socket" else ("127.0.0.1", 1)


class _Socket:
    def setsockopt(self, *_option: int) -> None:
        """Nothing."""

    def fileno(self) -> int:
        """Any."""
        return 9


class _Slots:
    """Any number of jobs."""

    def reserve(self) -> bool:
        """There is always one."""
        return True

    def release(self) -> None:
        """Nothing."""


class _Owner:
    """A worker that answers each job at once."""

    function = b"f"
    client_id = b"id"

    def __init__(self) -> None:
        self.slots: Slots = _Slots()
        self.connection = WorkerConnection(Address("h"), self, _OPTIONS)

    def on_job(self, job: Assignment) -> None:
        """Answer it."""
        job.progress(1, 2)
        job.complete(job.payload, lambda _status: None)

    def grab(self) -> None:
        """Ask for jobs."""
        while self.connection.can_grab:
            self.connection.grab()


def one(data: bytes) -> None:
    """The first byte says to whom the rest is said."""
    _LOOP.run_until_complete(_tell((data[:1] or b"\0")[0] % 3, data[1:]))


async def _tell(whom: int, data: bytes) -> None:
    protocol, questions = await _connected(whom)
    asked = [asyncio.ensure_future(question) for question in questions]
    wire = _Wire()
    protocol.connection_made(wire)
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        await asyncio.sleep(0)
        if not wire.ended:
            _feed(protocol, piece)
    protocol.connection_lost(None)
    if isinstance(protocol, PacketConnection):
        assert protocol.gone.result().isprintable()
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, BaseException):
            assert isinstance(answer, PoolmgrError), repr(answer)


def _feed(protocol: Any, data: bytes) -> None:
    if isinstance(protocol, PacketConnection):
        protocol.get_buffer(-1)[: len(data)] = data
        protocol.buffer_updated(len(data))
    else:
        protocol.data_received(data)
    if isinstance(protocol, WorkerConnection) and protocol.answered.done():
        protocol.look_for_jobs()


async def _connected(whom: int) -> tuple[Any, list[Coroutine[Any, Any, Any]]]:
    """An end of a connection, and what waits for answers there."""
    if whom == 2:
        return ServerConnection(JobServer()), []
    if whom != 1:
        return _Owner().connection, []
    connections: list[Any] = []

    async def connect(
        _address: Address,
        _options: ConnectionOptions,
        factory: Callable[[], Any],
    ) -> Any:
        connections.append(factory())
        return connections[0]

    client = Client([Address("h")], _OPTIONS)
    with mock.patch("poolmgr.gearman.client.connect", connect):
        await client.__aenter__()
    submitted = _result(client.submit("f", b"p", unique="u"))
    return connections[0], [submitted, client.has(handle="h")]


async def _result(submitted: Coroutine[Any, Any, SubmittedJob]) -> bytes:
    job = await submitted
    return await job.result()
