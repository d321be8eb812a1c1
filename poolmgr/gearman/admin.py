"""The text protocol by which job servers tell how they are."""

import asyncio
from dataclasses import dataclass

from poolmgr.errors import TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.connect import connect
from poolmgr.gearman.options import LinkOptions
from poolmgr.text import one_line

#: Most bytes that are read of an answer.
MAX_ANSWER = 64 * 1024 * 1024


@dataclass(frozen=True)
class FunctionStatus:
    """A function's queue.

    :ivar name: the function
    :ivar queued: jobs the server has, those that run included
    :ivar running: jobs that run
    :ivar workers: workers that can do it
    """

    name: str
    queued: int
    running: int
    workers: int


@dataclass(frozen=True)
class WorkerStatus:
    """A connection to the server.

    :ivar fd: its number
    :ivar ip: where it comes from
    :ivar client_id: what it calls itself
    :ivar functions: what it can do; nothing if it is a client
    """

    fd: int
    ip: str
    client_id: str
    functions: tuple[str, ...]


async def status(
    address: Address, options: LinkOptions | None = None
) -> list[FunctionStatus]:
    """The queues.

    :raises TransportError: the server cannot be asked
    """
    lines = await _ask(address, "status", options)
    try:
        return [_function(line) for line in lines]
    except ValueError:
        raise _nonsense(address, "status") from None


async def workers(
    address: Address, options: LinkOptions | None = None
) -> list[WorkerStatus]:
    """The connections.

    :raises TransportError: the server cannot be asked
    """
    lines = await _ask(address, "workers", options)
    try:
        return [_worker(line) for line in lines]
    except ValueError:
        raise _nonsense(address, "workers") from None


async def version(address: Address, options: LinkOptions | None = None) -> str:
    """The server's version.

    :raises TransportError: the server cannot be asked
    """
    (line,) = await _ask(address, "version", options, many=False)
    return line.removeprefix("OK ")


async def show_jobs(
    address: Address, options: LinkOptions | None = None
) -> list[str]:
    """The handles of all jobs the server has.

    :raises TransportError: the server cannot be asked
    """
    lines = await _ask(address, "show jobs", options)
    return [line.partition("\t")[0] for line in lines]


async def cancel_job(
    address: Address, handle: str, options: LinkOptions | None = None
) -> bool:
    """Have the server forget a job; whether it had it.

    :raises TransportError: the server cannot be asked
    """
    (line,) = await _ask(address, f"cancel job {handle}", options, many=False)
    return line.startswith("OK")


class _Conversation(asyncio.Protocol):
    """Sends a command and collects the answer."""

    def __init__(self, command: str, many: bool) -> None:
        self._command = command
        self._end = b"\n.\n" if many else b"\n"
        self._many = many
        self._data = bytearray(b"\n" if many else b"")
        self.lines: asyncio.Future[list[str]] = asyncio.Future()
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101
        transport.write(f"{self._command}\n".encode())

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._data.endswith(self._end):
            self._finish()
        elif len(self._data) > MAX_ANSWER:
            self._fail("the answer is too long")

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the job server closed the connection")

    def _finish(self) -> None:
        text = self._data.decode("utf-8", "backslashreplace")
        lines = _split(text)
        if self._many:
            lines = lines[1:-1]
        if not self.lines.done():
            self.lines.set_result(lines)

    def _fail(self, reason: str) -> None:
        if not self.lines.done():
            self.lines.set_exception(TransportError(reason))


async def _ask(
    address: Address,
    command: str,
    options: LinkOptions | None,
    many: bool = True,
) -> list[str]:
    options = options or LinkOptions()
    try:
        asking = await connect(
            address, options, lambda: _Conversation(command, many)
        )
        try:
            async with asyncio.timeout(options.connect_timeout):
                return await asking.lines
        finally:
            if asking.transport is not None:
                asking.transport.close()
    except TimeoutError:
        reason = f"no answer within {options.connect_timeout:g} s"
    except TransportError as error:
        reason = str(error)
    raise TransportError(f"job server {address}: {reason}")


def _split(text: str) -> list[str]:
    lines = text.removesuffix("\n").split("\n")
    return [line.rstrip("\r") for line in lines]


def _function(line: str) -> FunctionStatus:
    name, queued, running, workers = line.split("\t")
    return FunctionStatus(
        one_line(name), int(queued), int(running), int(workers)
    )


def _worker(line: str) -> WorkerStatus:
    head, colon, functions = line.partition(" :")
    if not colon:
        raise ValueError(line)
    fd, ip, client_id = head.split(" ", 2)
    names = tuple(map(one_line, functions.split()))
    return WorkerStatus(int(fd), one_line(ip), one_line(client_id), names)


def _nonsense(address: Address, command: str) -> TransportError:
    return TransportError(
        f"job server {address}: what it answers to {command!r} is nonsense"
    )
