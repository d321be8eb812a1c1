"""Ask a job server how it is: its text protocol.

A question and its answer, connecting included, may take ``timeout``
seconds; None is the options' ``connect_timeout``.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from poolmgr.errors import ConfigError, TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.connect import connect, reason_of, reason_of_silence
from poolmgr.gearman.options import LinkOptions
from poolmgr.text import decoded, one_line


@dataclass(frozen=True)
class FunctionStatus:
    """One function of a job server.

    :ivar queued: its jobs, those that are running included
    :ivar running: those that a worker has
    :ivar workers: who could run it
    """

    name: str
    queued: int
    running: int
    workers: int


@dataclass(frozen=True)
class WorkerStatus:
    """One connection of a job server; clients have no functions."""

    fd: int
    ip: str
    client_id: str
    functions: tuple[str, ...]


@dataclass(frozen=True)
class JobStatus:
    """One job of a job server.

    :ivar retries: how often a worker was lost with it
    :ivar ignored: nobody wants it any more
    :ivar queued: it waits for a worker
    """

    handle: str
    retries: int
    ignored: bool
    queued: bool


async def status(
    address: Address,
    options: LinkOptions | None = None,
    timeout: float | None = None,
) -> list[FunctionStatus]:
    """The functions that the job server knows.

    :raises TransportError: it cannot be asked, or answers nonsense
    """
    found = []
    async with _ask(address, options, timeout, "status") as question:
        for line in await question.lines():
            name, *numbers = line.rsplit("\t", 3)
            queued, running, workers = map(int, numbers)
            found.append(FunctionStatus(name, queued, running, workers))
    return found


async def workers(
    address: Address,
    options: LinkOptions | None = None,
    timeout: float | None = None,
) -> list[WorkerStatus]:
    """Who is connected to the job server, ourselves included.

    :raises TransportError: it cannot be asked, or answers nonsense
    """
    found = []
    async with _ask(address, options, timeout, "workers") as question:
        for line in await question.lines():
            who, functions = _split_worker(line)
            fd, ip, client_id = who.split(" ", 2)
            found.append(
                WorkerStatus(int(fd), ip, client_id, tuple(functions))
            )
    return found


async def show_jobs(
    address: Address,
    options: LinkOptions | None = None,
    timeout: float | None = None,
) -> list[JobStatus]:
    """The jobs that the job server has.

    :raises TransportError: it cannot be asked, or answers nonsense
    """
    found = []
    async with _ask(address, options, timeout, "show jobs") as question:
        for line in await question.lines():
            handle, retries, ignored, queued = line.split("\t")
            found.append(
                JobStatus(
                    handle, int(retries), bool(int(ignored)), queued != "0"
                )
            )
    return found


async def version(
    address: Address,
    options: LinkOptions | None = None,
    timeout: float | None = None,
) -> str:
    """The version that the job server says it is.

    :raises TransportError: it cannot be asked, or answers nonsense
    """
    async with _ask(address, options, timeout, "version") as question:
        word, _, rest = (await question.line()).partition(" ")
        if word != "OK" or not rest:
            raise ValueError(f"{word} {rest}")
    return rest


async def cancel_job(
    address: Address,
    handle: str,
    options: LinkOptions | None = None,
    timeout: float | None = None,
) -> bool:
    """Have the job server forget a job; its client is told it failed.

    :returns: False when there is no such job
    :raises TransportError: it cannot be asked, or answers nonsense
    """
    if not handle.isprintable() or " " in handle or not handle:
        raise ConfigError(f"{one_line(handle)!r} is no job's handle")
    command = f"cancel job {handle}"
    async with _ask(address, options, timeout, command) as question:
        answer = await question.line()
        if not answer.startswith(("OK", "ERR")):
            raise ValueError(answer)
    return answer.startswith("OK")


def _split_worker(line: str) -> tuple[str, list[str]]:
    """``fd ip id : function function``; an IPv6 address has colons, too."""
    who, colon, functions = line.partition(" :")
    if not colon:
        raise ValueError(line)
    return who, functions.split()


class _Closed(ConnectionError):
    """The connection was closed before there was an answer."""


class _Question:
    """A command that was sent, and its answer."""

    def __init__(self, reader: asyncio.StreamReader, limit: int) -> None:
        self._reader = reader
        self._left = limit
        self.answered = False

    async def line(self) -> str:
        raw = await self._reader.readline()
        if not (raw or self.answered):
            raise _Closed
        self.answered = True
        self._left -= len(raw)
        if self._left < 0:
            raise ValueError("an answer without end")
        if not raw.endswith(b"\n"):
            raise ValueError(f"{one_line(raw)!r} and then nothing")
        return decoded(raw).rstrip("\r\n")

    async def lines(self) -> list[str]:
        found = []
        while (line := await self.line()) != ".":
            found.append(line)
        return found


@asynccontextmanager
async def _ask(
    address: Address,
    options: LinkOptions | None,
    timeout: float | None,
    command: str,
) -> AsyncIterator[_Question]:
    """Connect and send; whatever goes wrong is one TransportError."""
    options = options or LinkOptions()
    limit = options.connect_timeout if timeout is None else timeout
    reader = asyncio.StreamReader(limit=options.max_packet)
    question = _Question(reader, options.max_packet)
    try:
        async with asyncio.timeout(limit):
            protocol = await connect(
                address,
                options,
                lambda: _Stream(reader),
            )
            try:
                protocol.send(command.encode() + b"\r\n")
                yield question
            finally:
                protocol.end()
    except TimeoutError:
        raise _error(address, f"no answer within {limit:g} s") from None
    except TransportError as error:
        raise _error(address, str(error)) from error
    except ValueError as error:
        said = one_line(str(error))
        raise _error(address, f"answer not understood: {said}") from error
    except _Closed as error:
        raise _error(address, reason_of_silence(None, options)) from error
    except OSError as error:
        if question.answered:
            raise _error(address, reason_of(error)) from error
        raise _error(address, reason_of_silence(error, options)) from error


def _error(address: Address, what: str) -> TransportError:
    return TransportError(f"job server {address}: {what}")


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
