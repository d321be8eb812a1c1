"""Submit jobs and wait for their answers."""

import asyncio
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any, Self

from poolmgr.errors import ConfigError, TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.connection import (
    ConnectionOptions,
    connect,
    quiet_future,
)
from poolmgr.gearman.jobs import JobFailed, SubmittedJob
from poolmgr.gearman.packet_connection import PacketConnection
from poolmgr.gearman.protocol import (
    MAX_NAME,
    SUBMIT,
    PacketType,
    Priority,
    ProtocolError,
)
from poolmgr.text import one_line

_IGNORED = (
    PacketType.ECHO_RES,
    PacketType.WORK_DATA,
    PacketType.WORK_WARNING,
)


class Client:
    """Submits jobs to the first of the job servers that can be reached.

    Use it with ``async with``. Many jobs may be under way at once; each
    comes back by itself. A lost connection is not replaced: all jobs that
    wait on it fail then, and so does each later submit.

    :param servers: in the order in which they are tried
    """

    def __init__(
        self,
        servers: Sequence[Address],
        options: ConnectionOptions | None = None,
    ) -> None:
        if not servers:
            raise ConfigError("no job server is given")
        self._servers = servers
        self._options = options or ConnectionOptions()
        self._server = servers[0]
        self._connection: PacketConnection | None = None
        # What answers each question; they are answered in their order.
        self._questions: deque[tuple[PacketType, asyncio.Future[Any]]]
        self._questions = deque()
        self._jobs: dict[bytes, list[SubmittedJob]] = {}

    async def __aenter__(self) -> Self:
        """Connect.

        :raises TransportError: with all servers and why each failed
        """
        failures = []
        for server in self._servers:
            try:
                self._connection = await connect(
                    server, self._options, self._make_connection
                )
                self._server = server
                return self
            except TransportError as error:
                failures.append(f"{server}: {error}")
        raise TransportError(f"no job server reached: {'; '.join(failures)}")

    async def __aexit__(self, *error: object) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # After an error nobody has the time.
            seconds = 2 if error == (None, None, None) else 0
            await connection.close("the client was closed", seconds)

    async def submit(
        self,
        function: str,
        payload: bytes,
        *,
        unique: str | None = None,
        background: bool = False,
        priority: Priority = "normal",
    ) -> SubmittedJob:
        """Hand in a job.

        :param unique: two jobs of one unique (and function) are one while
            they are queued or running; None takes a fresh one, an empty one
            is never the same as another
        :returns: when the server has taken the job
        :raises ConfigError: the function or the unique cannot be sent
        :raises TransportError: the server refused it, or the connection is
            lost
        """
        if unique is None:
            unique = str(uuid.uuid4())
        raw = _encoded(unique)
        if b"\0" in raw or len(raw) > MAX_NAME:
            raise ConfigError(
                f"the unique {one_line(unique)!r} has {len(raw)} bytes or a "
                f"NUL: gearmand takes {MAX_NAME} bytes without NUL"
            )
        if not function or "\0" in function:
            raise ConfigError("a function's name is not empty, without NUL")
        job: SubmittedJob = await self._ask(
            PacketType.JOB_CREATED,
            SUBMIT[priority, background],
            *(function.encode(), raw, payload),
        )
        job.background = background
        return job

    async def has(self, *, unique: str = "", handle: str = "") -> bool:
        """Whether the job server has a job, queued or running.

        :param unique: the client's name of the job
        :param handle: the job server's, which counts if there is no unique,
            or if the unique is longer than gearmand keeps
        :raises TransportError: the connection is lost
        """
        kind = PacketType.GET_STATUS_UNIQUE
        answer = PacketType.STATUS_RES_UNIQUE
        raw = _encoded(unique)
        if not 0 < len(raw) <= MAX_NAME:
            kind, answer = PacketType.GET_STATUS, PacketType.STATUS_RES
            raw = _encoded(handle)
        if len(raw) > MAX_NAME or b"\0" in raw:
            return False  # gearmand answers nothing, or closes the connection
        status = await self._ask(answer, kind, raw)
        return bool(status[1] == b"1")

    async def listeners(self, unique: bytes) -> int | None:
        """How many clients wait for the answer of a job; 0 if it is in
        background, None if that cannot be told.

        :param unique: as it is on the wire
        :raises TransportError: the connection is lost
        """
        # Without a unique of its own nobody's name tells which job it is.
        if unique in (b"", b"-") or len(unique) > MAX_NAME:
            return None
        status = await self._ask(
            PacketType.STATUS_RES_UNIQUE, PacketType.GET_STATUS_UNIQUE, unique
        )
        return int(status[5]) if status[1] == b"1" else None

    def _ask(
        self, answered_by: PacketType, kind: PacketType, *args: bytes
    ) -> asyncio.Future[Any]:
        connection = self._connection
        if connection is None:
            raise TransportError("the client is not connected")
        if connection.gone.done():
            raise self._error(connection.gone.result())
        answer = quiet_future()
        self._questions.append((answered_by, answer))
        connection.send(kind, *args)
        return answer

    def _make_connection(self) -> PacketConnection:
        return PacketConnection(self._options, self._received, self._ended)

    def _received(self, kind: PacketType, args: list[bytes]) -> None:
        match kind:
            case PacketType.WORK_COMPLETE:
                for job in self._jobs.pop(args[0], ()):
                    job.completed(args[1])
            case PacketType.WORK_FAIL | PacketType.WORK_EXCEPTION:
                # gearmand ends some of these handles with a NUL of its own.
                for job in self._jobs.pop(args[0].rstrip(b"\0"), ()):
                    why = f"job {job.handle} failed: the worker gave it up"
                    job.failed(JobFailed(why))
            case PacketType.WORK_STATUS:
                self._progressed(*args)
            case _ if kind not in _IGNORED:
                self._answered(kind, args)

    def _answered(self, kind: PacketType, args: list[bytes]) -> None:
        expected = self._questions[0][0] if self._questions else None
        if expected is None or kind not in (PacketType.ERROR, expected):
            raise ProtocolError(f"{kind.name} out of turn")
        _, answer = self._questions.popleft()
        result: object = args
        if kind is PacketType.JOB_CREATED:
            # Known from now on, not when submit() goes on: its end may be
            # next.
            result = job = SubmittedJob(self._server, args[0])
            self._jobs.setdefault(args[0], []).append(job)
        if answer.done():
            return  # nobody waits for it any more
        if kind is PacketType.ERROR:
            said = f"{one_line(args[0])}: {one_line(args[1])}"
            answer.set_exception(self._error(said))
        else:
            answer.set_result(result)

    def _progressed(self, handle: bytes, done: bytes, of: bytes) -> None:
        try:
            progress = int(done), int(of)
        except ValueError:
            return  # what a worker says is no reason to lose its job
        for job in self._jobs.get(handle, ()):
            job.progress = progress

    def _ended(self, reason: str) -> None:
        """Nobody who waits will be answered any more."""
        error = self._error(reason)
        for _, answer in self._questions:
            if not answer.done():
                answer.set_exception(error)
        for jobs in self._jobs.values():
            for job in jobs:
                job.failed(error)

    def _error(self, why: str) -> TransportError:
        return TransportError(f"job server {self._server}: {why}")


def _encoded(name: str) -> bytes:
    # What is read back from a cloud, or typed, may be no text at all.
    return name.encode(errors="backslashreplace")
