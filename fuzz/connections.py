"""What a worker, a client and the built-in job server receive."""

import asyncio
import contextlib
from typing import Any
from unittest import mock

from poolmgr.errors import PoolmgrError
from poolmgr.gearman.assignment import Assignment
from poolmgr.gearman.client import Client
from poolmgr.gearman.connection import Connection
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.gearman.protocol import RESPONSE, PacketType, encode
from poolmgr.gearman.server import JobServer
from poolmgr.gearman.worker import Worker

T = PacketType


def _encoded(*packets: tuple[Any, ...], magic: bytes = RESPONSE) -> bytes:
    return b"".join(encode(*packet, magic=magic) for packet in packets)


_JOB = (T.JOB_ASSIGN_UNIQ, b"h", b"f", b"u", b"p")
_REQ = b"\0REQ"
SEEDS = [
    b"\0" + _encoded((T.ECHO_RES, b""), _JOB),
    b"\0" + _encoded((T.ECHO_RES, b""), (T.NO_JOB,), (T.NOOP,)),
    b"\0" + _encoded((T.ECHO_RES, b""), _JOB, (T.ERROR, b"c", b"t")),
    b"\1" + _encoded((T.ECHO_RES, b""), (T.JOB_CREATED, b"h")),
    b"\1" + _encoded((T.ERROR, b"c", b"t"), (T.WORK_COMPLETE, b"h", b"p")),
    b"\1" + _encoded((T.STATUS_RES, b"h", b"1", b"1", b"a", b"0")),
    b"\2" + _encoded((T.CAN_DO, b"f"), (T.GRAB_JOB_UNIQ,), magic=_REQ),
    b"\2" + _encoded((T.SUBMIT_JOB, b"f", b"u", b"p"), magic=_REQ),
    b"\2"
    + _encoded(
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
    """A transport that discards data and can be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Discard data."""

    def get_write_buffer_size(self) -> int:
        """Return 0: data is sent at once."""
        return 0

    def is_closing(self) -> bool:
        """Return whether it was aborted."""
        return self.ended

    def abort(self) -> None:
        """Close it."""
        self.ended = True

    close = abort

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a peer's address."""
        return ("127.0.0.1", 1)


class _Slots:
    """An unlimited number of slots."""

    def reserve(self) -> bool:
        """Return True: there is always a slot."""
        return True

    def release(self) -> None:
        """Do nothing."""


def one(data: bytes) -> None:
    """The first byte selects the receiver of the rest."""
    receive = (_worker, _client, _server)[(data[:1] or b"\0")[0] % 3]
    _LOOP.run_until_complete(receive(data[1:]))


async def _server(data: bytes) -> None:
    reader = asyncio.StreamReader()
    wire: Any = _Wire()
    writer = asyncio.StreamWriter(wire, wire, reader, _LOOP)
    reader.feed_data(data)
    reader.feed_eof()
    await JobServer().serve(reader, writer)


async def _worker(data: bytes) -> None:
    def answer(job: Assignment) -> None:
        job.progress(1, 2)
        job.deliver(job.payload)

    worker = Worker([Address("h")], "f", answer, _Slots(), _OPTIONS, "id")
    with mock.patch("poolmgr.gearman.worker.connect", _connect):
        serving = asyncio.create_task(worker.run())
        while not _made:
            await asyncio.sleep(0)
        await _receive(data)
        # The worker needs a few turns to notice the end of the connection.
        for _turn in range(5):
            await asyncio.sleep(0)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    assert not any(each.grabs for each in worker.connections)


async def _client(data: bytes) -> None:
    client = Client([Address("h")], _OPTIONS)
    with mock.patch("poolmgr.gearman.client.connect", _connect):
        await client.__aenter__()
    requests = [
        asyncio.ensure_future(_result(client)),
        asyncio.ensure_future(client.has(handle="h")),
    ]
    await _receive(data)
    for answer in await asyncio.gather(*requests, return_exceptions=True):
        if isinstance(answer, BaseException):
            assert isinstance(answer, PoolmgrError), repr(answer)


async def _result(client: Client) -> bytes:
    job = await client.submit("f", b"p", unique="u")
    return await job.result()


_made: list[Connection] = []
_wire = _Wire()


async def _connect(
    address: Address,
    options: ConnectionOptions,
    greeting: bytes,
    received: Any,
) -> Connection:
    connection = Connection(address, options, greeting, received)
    _wire.ended = False
    connection.connection_made(_wire)
    _made.append(connection)
    return connection


async def _receive(data: bytes) -> None:
    """Send data in two pieces to the last connection."""
    connection = _made.pop()
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        await asyncio.sleep(0)
        if not _wire.ended:
            connection.get_buffer(-1)[: len(piece)] = piece
            connection.buffer_updated(len(piece))
    connection.connection_lost(None)
    assert connection.gone.result().isprintable()
