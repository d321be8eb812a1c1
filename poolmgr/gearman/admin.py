"""Queries of a job server, by gearmand's text protocol.

The time limit of a query, connecting included, is the ``connect_timeout`` of
the options.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from poolmgr.errors import TransportError
from poolmgr.gearman import protocol
from poolmgr.gearman.connection import connect
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.text import decoded, one_line


class FunctionStatus(NamedTuple):
    """A function of a job server.

    :ivar queued: number of its jobs, including running ones
    :ivar running: number of its jobs that a worker has
    :ivar workers: number of workers that can run it
    """

    name: str
    queued: int
    running: int
    workers: int


class WorkerStatus(NamedTuple):
    """A connection of a job server; clients have no functions."""

    ip: str
    client_id: str
    functions: tuple[str, ...]


# Names of functions and workers may contain line feeds and tabs, so these
# patterns, not lines, tell where a record ends.
_FUNCTION = re.compile(rb"(.*?)\t(\d+)\t(\d+)\t(\d+)\r?\n", re.DOTALL)
_PRIORITIES = re.compile(rb"(.*?)\t(\d+)\t(\d+)\t(\d+)\t\d+\r?\n", re.DOTALL)
_WORKER = re.compile(rb"\d+ (\S+) (.*?) :(.*?)\r?\n(?=\d+ \S+ |$)", re.DOTALL)
_JOB = re.compile(rb"(.*?)\t(\d+)\t\d+\t\d+\r?\n", re.DOTALL)


async def status(
    address: Address, options: ConnectionOptions | None = None
) -> list[FunctionStatus]:
    """Return the functions that the job server knows.

    :raises TransportError: there is no answer, or it is not understood
    """
    found = await _ask(address, options, b"status", _FUNCTION)
    return [
        FunctionStatus(decoded(name), *map(int, counts))
        for name, *counts in found
    ]


async def waiting(
    address: Address, function: str, options: ConnectionOptions | None = None
) -> list[int]:
    """Return how many jobs of high, normal and low priority are queued.

    :raises TransportError: there is no answer, or the job server does not
        support the query
    """
    found = await _ask(address, options, b"prioritystatus", _PRIORITIES)
    for name, *counts in found:
        if decoded(name) == function:
            return list(map(int, counts))
    # A job server knows a function after its first job or worker.
    return [0, 0, 0]


async def workers(
    address: Address, options: ConnectionOptions | None = None
) -> list[WorkerStatus]:
    """Return the job server's connections, including this one.

    :raises TransportError: there is no answer, or it is not understood
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
    """Return the handles of all jobs, with the number of lost workers each.

    :raises TransportError: there is no answer, or it is not understood
    """
    found = await _ask(address, options, b"show jobs", _JOB)
    return {decoded(handle): int(retries) for handle, retries in found}


class _TextParser(protocol.Parser):
    """Parses a text answer and returns it as an ECHO_RES packet.

    So :func:`connect` takes the command as the greeting, and the answer as
    the sign that this is a job server.

    :param record: the pattern of the answer's records
    :param limit: the longest answer, in bytes
    :ivar rows: the groups of each record
    """

    def __init__(self, record: re.Pattern[bytes], limit: int) -> None:
        super().__init__()
        self.rows: list[tuple[bytes, ...]] = []
        self._record = record
        self._limit = limit
        self._text = b""

    def feed(self, data: bytes) -> Iterator[protocol.Packet]:
        """Yield the answer when it is complete.

        :raises ProtocolError: it is not understood
        """
        self._text += data
        text = self._text
        # A name may contain a line with a single dot, too, but more data
        # follows then.
        is_complete = (b"\n" + text).endswith((b"\n.\n", b"\n.\r\n"))
        # With 0 no record is read before the answer is complete.
        end = text.rindex(b".") if is_complete else 0
        at = 0
        # Not finditer(): if a record does not match, it would look for others
        # at each byte of the rest.
        while found := self._record.match(text, at, end):
            self.rows.append(found.groups())
            at = found.end()
        if is_complete and at == end:
            yield protocol.Packet(protocol.PacketType.ECHO_RES, [])
            return
        # A function may be named "ERR ...", but its record has tabs.
        is_error = text.startswith(b"ERR ") and b"\t" not in text
        if is_complete or is_error or len(text) > self._limit:
            reason = f"answer not understood: {one_line(text, 60)}"
            raise protocol.ProtocolError(reason)


async def _ask(
    address: Address,
    options: ConnectionOptions | None,
    command: bytes,
    record: re.Pattern[bytes],
) -> list[tuple[bytes, ...]]:
    """Send a command; return the groups of each record of the answer."""
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
