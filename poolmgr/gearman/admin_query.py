"""One command of a job server's text protocol, and its answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from poolmgr.errors import TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.connect import connect, reason_of, reason_of_silence
from poolmgr.gearman.diagnosis import describe_silence, identify
from poolmgr.gearman.options import ConnectionOptions
from poolmgr.gearman.protocol import ProtocolError
from poolmgr.text import decoded, one_line

_LINE = (b"\n",)


class _Closed(ConnectionError):
    """The connection was closed before there was an answer."""


class Question:
    """A command that was sent, and its answer."""

    def __init__(self, reader: asyncio.StreamReader, limit: int) -> None:
        self._reader = reader
        self._limit = limit
        self._said = bytearray()

    @property
    def answered(self) -> bool:
        """Whether anything has come."""
        return bool(self._said)

    @property
    def beginning(self) -> str:
        """How the answer began, for a message."""
        return f"'{one_line(bytes(self._said), 60)}'"

    async def line(self) -> str:
        """An answer of one line."""
        return decoded(await self._read(*_LINE)).rstrip("\r\n")

    async def text(self) -> bytes:
        """An answer of several lines, without the dot that ends it.

        A name may have a line with nothing but a dot, too; but then more
        follows at once.
        """
        said = await self._read(b"\n.\n", b"\n.\r\n")
        return said[: said.rindex(b".")]

    async def _read(self, *ends: bytes) -> bytes:
        while not self._ends_with(ends):
            data = await self._reader.read(65536)
            if not (data or self._said):
                raise _Closed
            self._said += data
            self._require_job_server()
            if ends != _LINE and self._said.startswith(b"ERR UNKNOWN_"):
                raise ValueError(one_line(bytes(self._said)))
            if not data:
                raise ValueError(f"{self.beginning} and then nothing")
            if len(self._said) > self._limit:
                raise ValueError("an answer without end")
        return bytes(self._said)

    def _ends_with(self, ends: tuple[bytes, ...]) -> bool:
        # The dot may be all of it.
        return self.answered and (b"\n" + self._said[-4:]).endswith(ends)

    def _require_job_server(self) -> None:
        """Do not wait for the end of what another server sends."""
        line = bytes(self._said.partition(b"\n")[0])
        what = identify(line)
        if what and b"\t" not in line and b" :" not in line:
            raise ProtocolError(f"{self.beginning}: {what}")


@asynccontextmanager
async def ask(
    address: Address,
    options: ConnectionOptions | None,
    timeout: float | None,
    command: str,
) -> AsyncIterator[Question]:
    """Connect and send; whatever goes wrong is one TransportError."""
    options = options or ConnectionOptions()
    limit = options.connect_timeout if timeout is None else timeout
    reader = asyncio.StreamReader(limit=options.max_packet)
    question = Question(reader, options.max_packet)
    time_out = asyncio.timeout_at(asyncio.get_running_loop().time() + limit)
    try:
        soon = replace(
            options, connect_timeout=min(limit, options.connect_timeout)
        )
        protocol = await connect(address, soon, lambda: _Stream(reader))
        try:
            async with time_out:
                protocol.send(command.encode() + b"\r\n")
                yield question
        finally:
            protocol.end()
    except (TransportError, ValueError, OSError) as error:
        if time_out.expired():
            what = f"no answer within {limit:g} s"
            if question.answered:
                what = f"no end of the answer {question.beginning}"
            reason = f"{what}: {describe_silence(options)}"
        elif isinstance(error, TransportError):
            reason = str(error)
        elif isinstance(error, ValueError):
            reason = f"answer not understood: {one_line(str(error))}"
        elif question.answered:
            reason = reason_of(error)
        else:
            cause = None if isinstance(error, _Closed) else error
            reason = reason_of_silence(cause, options)
        raise TransportError(f"job server {address}: {reason}") from error


class _Stream(asyncio.StreamReaderProtocol):
    """A reader and just enough of a writer."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self._raw: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if isinstance(transport, asyncio.Transport):
            self._raw = transport

    def send(self, data: bytes) -> None:
        if self._raw is not None:
            self._raw.write(data)

    def end(self) -> None:
        if self._raw is not None:
            self._raw.abort()
