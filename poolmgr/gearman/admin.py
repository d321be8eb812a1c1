"""Ask a job server how it is: its text protocol.

A question and its answer, connecting included, may take ``timeout``
seconds; None is the options' ``connect_timeout``.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from poolmgr.errors import ConfigError, TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.connect import connect, reason_of, reason_of_silence
from poolmgr.gearman.options import LinkOptions
from poolmgr.gearman.protocol import ProtocolError
from poolmgr.gearman.stranger import describe_silence, recognize
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
    async with _ask(address, options, timeout, "status") as question:
        return [
            FunctionStatus(decoded(match[1]), *map(int, match.groups()[1:]))
            for match in _records(_FUNCTION, await question.text())
        ]


async def waiting(
    address: Address,
    function: str,
    options: LinkOptions | None = None,
    timeout: float | None = None,
) -> list[int]:
    """How many jobs of a function wait: of high, normal, low priority.

    :raises TransportError: it cannot be asked, or does not know the question
    """
    async with _ask(address, options, timeout, "prioritystatus") as question:
        for match in _records(_PRIORITIES, await question.text()):
            if decoded(match[1]) == function:
                return list(map(int, match.groups()[1:4]))
    return [0, 0, 0]


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
        for match in _records(_WORKER, await question.text()):
            fd, ip, client_id, functions = map(decoded, match.groups())
            names = tuple(filter(None, functions.split(" ")))
            found.append(WorkerStatus(int(fd), ip, client_id, names))
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
        for match in _records(_JOB, await question.text()):
            handle, (retries, *flags) = decoded(match[1]), match.groups()[1:]
            ignored, queued = (flag != b"0" for flag in flags)
            found.append(JobStatus(handle, int(retries), ignored, queued))
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


# Names are those of any worker and client, with line feeds and tabs, so that
# lines do not tell where a record ends: only its own form does.
_FUNCTION = re.compile(rb"(.*?)\t(\d+)\t(\d+)\t(\d+)\r?\n", re.DOTALL)
_PRIORITIES = re.compile(rb"(.*?)\t(\d+)\t(\d+)\t(\d+)\t(\d+)\r?\n", re.DOTALL)
_WORKER = re.compile(
    rb"(\d+) (\S+) (.*?) :(.*?)\r?\n(?=\d+ \S+ |$)", re.DOTALL
)
_JOB = re.compile(rb"(.*?)\t(\d+)\t(\d+)\t(\d+)\r?\n", re.DOTALL)


def _records(
    form: re.Pattern[bytes], text: bytes
) -> Iterator[re.Match[bytes]]:
    """The records of an answer, which has nothing else.

    :raises ValueError: it has
    """
    end = 0
    while end < len(text):
        match = form.match(text, end)
        if match is None:
            raise ValueError(one_line(text[end:]))
        yield match
        end = match.end()


_LINE = (b"\n",)


class _Closed(ConnectionError):
    """The connection was closed before there was an answer."""


class _Question:
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
        """Do not wait for the end of what a stranger says."""
        line = bytes(self._said.partition(b"\n")[0])
        what = recognize(line)
        if what and b"\t" not in line and b" :" not in line:
            raise ProtocolError(f"{self.beginning}: {what}")


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
    end = asyncio.get_running_loop().time() + limit
    try:
        soon = replace(
            options, connect_timeout=min(limit, options.connect_timeout)
        )
        protocol = await connect(address, soon, lambda: _Stream(reader))
        try:
            async with asyncio.timeout_at(end):
                protocol.send(command.encode() + b"\r\n")
                yield question
        finally:
            protocol.end()
    except TimeoutError:
        what = f"no answer within {limit:g} s"
        if question.answered:
            what = f"no end of the answer {question.beginning}"
        why = describe_silence(options)
        raise _error(address, f"{what}: {why}") from None
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
