"""A job server's answers in its text protocol."""

import asyncio
from typing import Any
from unittest import mock

from poolmgr.errors import TransportError
from poolmgr.gearman import admin
from poolmgr.gearman.connection import Connection
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.gearman.protocol import Parser

SEEDS = [
    b"f\t3\t1\t2\ng\t0\t0\t0\n.\n",
    b"30 127.0.0.1 id : f g\n31 ::1 - :\n.\n",
    b"H:x:1\t0\t0\t1\n.\n",
    b"ERR UNKNOWN_JOB\r\n",
]
_ADDRESS = Address("h")
_LOOP = asyncio.new_event_loop()


def one(data: bytes) -> None:
    """The server sends the data and closes the connection."""

    async def connect(
        address: Address,
        options: ConnectionOptions,
        greeting: bytes,
        received: Any,
        parser: Parser,
    ) -> Connection:
        connection = Connection(address, options, greeting, received, parser)
        connection.get_buffer(-1)[: len(data)] = data
        connection.buffer_updated(len(data))
        connection.connection_lost(None)
        try:
            await connection.answered
        except ConnectionError as error:
            raise TransportError("closed") from error
        return connection

    async def ask() -> None:
        for question in (admin.status, admin.workers, admin.show_jobs):
            said = ""
            try:
                await question(_ADDRESS)
            except TransportError as error:
                said = str(error)
            assert said.isprintable()

    with mock.patch("poolmgr.gearman.admin.connect", connect):
        _LOOP.run_until_complete(ask())
