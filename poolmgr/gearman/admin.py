"""Ask a job server how it is: its text protocol.

A question and its answer, connecting included, may take ``timeout``
seconds; None is the options' ``connect_timeout``.
"""

import asyncio
import re
from dataclasses import dataclass, replace
from typing import cast

from poolmgr.errors import TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.connection import (
    Connection,
    ConnectionOptions,
    connect,
)
from poolmgr.gearman.reasons import identify
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

    ip: str
    client_id: str
    functions: tuple[str, ...]


@dataclass(frozen=True)
class JobStatus:
    """One job of a job server.

    :ivar retries: how often a worker was lost with it
    """

    handle: str
    retries: int


# Names are those of any worker and client, with line feeds and tabs, so that
# lines do not tell where a record ends: only its own form does.
_FUNCTION = re.compile(rb"(.*?)\t(\d+)\t(\d+)\t(\d+)\r?\n", re.DOTALL)
_PRIORITIES = re.compile(rb"(.*?)\t(\d+)\t(\d+)\t(\d+)\t\d+\r?\n", re.DOTALL)
_WORKER = re.compile(rb"\d+ (\S+) (.*?) :(.*?)\r?\n(?=\d+ \S+ |$)", re.DOTALL)
_JOB = re.compile(rb"(.*?)\t(\d+)\t\d+\t\d+\r?\n", re.DOTALL)


async def status(
    address: Address,
    options: ConnectionOptions | None = None,
    timeout: float | None = None,
) -> list[FunctionStatus]:
    """The functions that the job server knows.

    :raises TransportError: it cannot be asked, or answers nonsense
    """
    return [
        FunctionStatus(decoded(match[1]), *map(int, match.groups()[1:]))
        for match in await _ask(address, options, timeout, "status", _FUNCTION)
    ]


async def waiting(
    address: Address,
    function: str,
    options: ConnectionOptions | None = None,
    timeout: float | None = None,
) -> list[int]:
    """How many jobs of a function wait: of high, normal, low priority.

    :raises TransportError: it cannot be asked, or does not know the question
    """
    for match in await _ask(
        address, options, timeout, "prioritystatus", _PRIORITIES
    ):
        if decoded(match[1]) == function:
            return list(map(int, match.groups()[1:]))
    return [0, 0, 0]


async def workers(
    address: Address,
    options: ConnectionOptions | None = None,
    timeout: float | None = None,
) -> list[WorkerStatus]:
    """Who is connected to the job server, ourselves included.

    :raises TransportError: it cannot be asked, or answers nonsense
    """
    found = []
    for match in await _ask(address, options, timeout, "workers", _WORKER):
        ip, client_id, functions = map(decoded, match.groups())
        names = tuple(filter(None, functions.split(" ")))
        found.append(WorkerStatus(ip, client_id, names))
    return found


async def show_jobs(
    address: Address,
    options: ConnectionOptions | None = None,
    timeout: float | None = None,
) -> list[JobStatus]:
    """The jobs that the job server has.

    :raises TransportError: it cannot be asked, or answers nonsense
    """
    return [
        JobStatus(decoded(match[1]), int(match[2]))
        for match in await _ask(address, options, timeout, "show jobs", _JOB)
    ]


async def _ask(
    address: Address,
    options: ConnectionOptions | None,
    timeout: float | None,
    command: str,
    record: re.Pattern[bytes],
) -> list[re.Match[bytes]]:
    """Connect and ask; the records of the answer, which has nothing else."""
    options = options or ConnectionOptions()
    if timeout is not None:
        options = replace(options, connect_timeout=timeout)
    limit = options.max_packet
    try:
        question = await connect(
            address, options, lambda: _Question(command.encode(), limit)
        )
        question.drop("answered")
        text: bytes = question.answered.result()
        found = list(record.finditer(text))
        if sum(len(each[0]) for each in found) != len(text):
            wrong = one_line(text, 60)
            raise TransportError(f"answer not understood: '{wrong}'")
        return found
    except TransportError as error:
        raise TransportError(f"job server {address}: {error}") from error


class _Question(Connection, asyncio.Protocol):
    """A command and its answer of several lines."""

    def __init__(self, command: bytes, limit: int) -> None:
        super().__init__()
        self._command = command
        self._limit = limit
        self._said = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        cast(asyncio.Transport, transport).write(self._command + b"\r\n")

    def data_received(self, data: bytes) -> None:
        self._said += data
        said = bytes(self._said)
        start = f"'{one_line(said, 60)}'"
        what = identify(said)
        if what and b"\t" not in said and b" :" not in said:
            self.drop(f"{start}: {what}")
        elif said.startswith(b"ERR ") or len(said) > self._limit:
            self.drop(f"answer not understood: {start}")
        # A name may have a line with nothing but a dot, too; but then more
        # follows at once.
        elif (
            said.endswith((b"\n.\n", b"\n.\r\n")) or said in (b".\n", b".\r\n")
        ) and not self.answered.done():
            self.answered.set_result(said[: said.rindex(b".")])
