"""Ask a job server how it is: its text protocol.

A question and its answer, connecting included, may take ``timeout``
seconds; None is the options' ``connect_timeout``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from poolmgr.errors import ConfigError
from poolmgr.gearman.address import Address
from poolmgr.gearman.admin_query import ask
from poolmgr.gearman.options import ConnectionOptions
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
    options: ConnectionOptions | None = None,
    timeout: float | None = None,
) -> list[FunctionStatus]:
    """The functions that the job server knows.

    :raises TransportError: it cannot be asked, or answers nonsense
    """
    async with ask(address, options, timeout, "status") as question:
        return [
            FunctionStatus(decoded(match[1]), *map(int, match.groups()[1:]))
            for match in _records(_FUNCTION, await question.text())
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
    async with ask(address, options, timeout, "prioritystatus") as question:
        for match in _records(_PRIORITIES, await question.text()):
            if decoded(match[1]) == function:
                return list(map(int, match.groups()[1:4]))
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
    async with ask(address, options, timeout, "workers") as question:
        for match in _records(_WORKER, await question.text()):
            fd, ip, client_id, functions = map(decoded, match.groups())
            names = tuple(filter(None, functions.split(" ")))
            found.append(WorkerStatus(int(fd), ip, client_id, names))
    return found


async def show_jobs(
    address: Address,
    options: ConnectionOptions | None = None,
    timeout: float | None = None,
) -> list[JobStatus]:
    """The jobs that the job server has.

    :raises TransportError: it cannot be asked, or answers nonsense
    """
    found = []
    async with ask(address, options, timeout, "show jobs") as question:
        for match in _records(_JOB, await question.text()):
            handle, (retries, *flags) = decoded(match[1]), match.groups()[1:]
            ignored, queued = (flag != b"0" for flag in flags)
            found.append(JobStatus(handle, int(retries), ignored, queued))
    return found


async def version(
    address: Address,
    options: ConnectionOptions | None = None,
    timeout: float | None = None,
) -> str:
    """The version that the job server says it is.

    :raises TransportError: it cannot be asked, or answers nonsense
    """
    async with ask(address, options, timeout, "version") as question:
        word, _, rest = (await question.line()).partition(" ")
        if word != "OK" or not rest:
            raise ValueError(f"{word} {rest}")
    return rest


async def cancel_job(
    address: Address,
    handle: str,
    options: ConnectionOptions | None = None,
    timeout: float | None = None,
) -> bool:
    """Have the job server forget a job; its client is told it failed.

    :returns: False when there is no such job
    :raises TransportError: it cannot be asked, or answers nonsense
    """
    if not handle.isprintable() or " " in handle or not handle:
        raise ConfigError(f"{one_line(handle)!r} is no job's handle")
    command = f"cancel job {handle}"
    async with ask(address, options, timeout, command) as question:
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
