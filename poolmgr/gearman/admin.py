"""Ask a job server how it is: its text protocol.

A question and its answer, connecting included, may take the options'
``connect_timeout``.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from poolmgr.errors import TransportError
from poolmgr.gearman.connection import connect
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.gearman.protocol import (
    Packet,
    PacketType,
    Parser,
    ProtocolError,
)
from poolmgr.text import decoded, one_line


class FunctionStatus(NamedTuple):
    """One function of a job server.

    :ivar queued: its jobs, those that are running included
    :ivar running: those that a worker has
    :ivar workers: who could run it
    """

    name: str
    queued: int
    running: int
    workers: int


class WorkerStatus(NamedTuple):
    """One connection of a job server; clients have no functions."""

    ip: str
    client_id: str
    functions: tuple[str, ...]


# Names are those of any worker and client, with line feeds and tabs, so that
# lines do not tell where a record ends: only its own form does.
_FUNCTION = re.compile(rb"(.*?)\t(\d+)\t(\d+)\t(\d+)\r?\n", re.DOTALL)
_PRIORITIES = re.compile(rb"(.*?)\t(\d+)\t(\d+)\t(\d+)\t\d+\r?\n", re.DOTALL)
_WORKER = re.compile(rb"\d+ (\S+) (.*?) :(.*?)\r?\n(?=\d+ \S+ |$)", re.DOTALL)
_JOB = re.compile(rb"(.*?)\t(\d+)\t\d+\t\d+\r?\n", re.DOTALL)


async def status(
    address: Address, options: ConnectionOptions | None = None
) -> list[FunctionStatus]:
    """The functions that the job server knows.

    :raises TransportError: it cannot be asked, or answers nonsense
    """
    found = await _ask(address, options, b"status", _FUNCTION)
    return [
        FunctionStatus(decoded(name), *map(int, counts))
        for name, *counts in found
    ]


async def waiting(
    address: Address, function: str, options: ConnectionOptions | None = None
) -> list[int]:
    """How many jobs of a function wait: of high, normal, low priority.

    :raises TransportError: it cannot be asked, or does not know the question
    """
    found = await _ask(address, options, b"prioritystatus", _PRIORITIES)
    for name, *counts in found:
        if decoded(name) == function:
            return list(map(int, counts))
    return [0, 0, 0]


async def workers(
    address: Address, options: ConnectionOptions | None = None
) -> list[WorkerStatus]:
    """Who is connected to the job server, ourselves included.

    :raises TransportError: it cannot be asked, or answers nonsense
    """
    found = []
    for row in await _ask(address, options, b"workers", _WORKER):
        ip, client_id, functions = map(decoded, row)
        names = tuple(filter(None, functions.split(" ")))
        found.append(WorkerStatus(ip, client_id, names))
    return found


async def show_jobs(
    address: Address, options: ConnectionOptions | None = None
) -> dict[str, int]:
    """The handles of the jobs that the job server has, and how often a
    worker was lost with each.

    :raises TransportError: it cannot be asked, or answers nonsense
    """
    found = await _ask(address, options, b"show jobs", _JOB)
    return {decoded(handle): int(retries) for handle, retries in found}


class _TextParser(Parser):
    """Takes the lines that answer a command for one packet.

    :param record: the form of what the answer lists
    :param limit: bytes that it may have
    :ivar rows: the groups of each record
    """

    def __init__(self, record: re.Pattern[bytes], limit: int) -> None:
        super().__init__()
        self.rows: list[tuple[bytes, ...]] = []
        self._record = record
        self._limit = limit
        self._said = b""

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The answer, when it is complete.

        :raises ProtocolError: it is none
        """
        self._said += data
        said = self._said
        # A name may have a line with nothing but a dot, too; but then more
        # follows at once.
        complete = (b"\n" + said).endswith((b"\n.\n", b"\n.\r\n"))
        if complete:
            end = said.rindex(b".")
            found = list(self._record.finditer(said, 0, end))
            if sum(len(each[0]) for each in found) == end:
                self.rows = [each.groups() for each in found]
                yield Packet(PacketType.ECHO_RES, [])
                return
        refused = said.startswith(b"ERR ") and b"\t" not in said
        if complete or refused or len(said) > self._limit:
            raise ProtocolError(f"answer not understood: {one_line(said, 60)}")


async def _ask(
    address: Address,
    options: ConnectionOptions | None,
    command: bytes,
    record: re.Pattern[bytes],
) -> list[tuple[bytes, ...]]:
    """Connect and ask; the groups of each record of the answer."""
    options = options or ConnectionOptions()
    parser = _TextParser(record, options.max_packet)
    try:
        connection = await connect(
            address, options, command + b"\r\n", lambda *_: None, parser
        )
    except TransportError as error:
        raise TransportError(f"job server {address}: {error}") from error
    connection.drop("answered")
    return parser.rows
