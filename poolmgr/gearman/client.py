"""A client that submits jobs and waits for their answers.

For example, in a coroutine::

    async with Client([Address.parse("127.0.0.1:4730")]) as client:
        job = await client.submit("libra_pool_mgm", b'{"action": "BUILD_IP"}')
        answer = await job.result(timeout=60)
"""

import asyncio
import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from poolmgr.errors import RequestError, TransportError
from poolmgr.gearman import protocol
from poolmgr.gearman.connection import Connection, connect, fail
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.gearman.protocol import MAX_NAME, Priority
from poolmgr.gearman.protocol import PacketType as T
from poolmgr.text import decoded, one_line


class JobFailed(TransportError):
    """The worker gave the job up, or it was cancelled."""


class JobTimeout(TransportError):
    """There was no answer in time."""


@dataclass(eq=False)
class SubmittedJob:
    """A job that a job server has accepted.

    :ivar handle: the job server's name for the job
    :ivar answer: a future of the answer; it fails if the answer is lost
    :ivar progress: finished steps and all steps, as last reported by the
        worker; None before
    """

    handle: str
    answer: asyncio.Future[bytes]
    progress: tuple[int, int] | None = None

    async def result(self, timeout: float | None = None) -> bytes:
        """Wait for the worker's answer and return it.

        :param timeout: time limit in seconds; None for no limit
        :raises JobTimeout: there is no answer yet; call this again to continue
        :raises JobFailed: the worker gave up, or the job was cancelled
        :raises TransportError: the connection is lost, or the job is a
            background job
        """
        try:
            async with asyncio.timeout(timeout):
                # The future must survive a timeout, for the next call.
                return await asyncio.shield(self.answer)
        except TimeoutError:
            raise JobTimeout(
                f"job {self.handle}: no answer within {timeout:g} s"
            ) from None


class Client:
    """Submits jobs to the first job server that can be reached.

    Use it with ``async with``. Many jobs can be in flight at once. The client
    does not reconnect: after its connection is lost, all jobs in flight and
    all later calls fail.

    :param servers: the job servers, in the order in which they are tried
    :param options: the options of the connection
    """

    _connection: Connection

    def __init__(
        self,
        servers: Sequence[Address],
        options: ConnectionOptions | None = None,
    ) -> None:
        self._servers = servers
        self._options = options or ConnectionOptions()
        self._jobs: dict[bytes, list[SubmittedJob]] = {}

    async def __aenter__(self) -> Self:
        """Connect.

        :raises TransportError: no server can be reached, with all reasons
        """
        greeting = protocol.encode(T.ECHO_REQ, b"")
        failures = []
        for server in self._servers:
            try:
                self._connection = await connect(
                    server, self._options, greeting, self._received
                )
                return self
            except TransportError as error:
                failures.append(f"{server}: {error}")
        raise TransportError(f"no job server reached: {'; '.join(failures)}")

    async def __aexit__(self, *error: object) -> None:
        # All packets have been sent: each was answered.
        self._connection.drop("the connection was closed")

    async def submit(
        self,
        function: str,
        payload: bytes,
        *,
        unique: str | None = None,
        background: bool = False,
        priority: Priority = "normal",
    ) -> SubmittedJob:
        """Submit a job and wait until the server has accepted it.

        :param unique: a job joins a queued or running job with the same
            unique and function; None for a new unique, empty for a job that
            joins no other
        :raises RequestError: the unique cannot be sent
        :raises TransportError: the server refused it, or the connection is
            lost
        """
        if unique is None:
            unique = str(uuid.uuid4())
        raw = _encoded(checked(unique))
        job: SubmittedJob = await self._connection.ask(
            T.JOB_CREATED,
            protocol.SUBMIT[priority, background],
            *(function.encode(), raw, payload),
            read=partial(self._created, background),
        )
        return job

    async def has(self, *, unique: str = "", handle: str = "") -> bool:
        """Return whether the job server has a job, queued or running.

        :param unique: the client's name for the job
        :param handle: the job server's name for the job, used if there is no
            unique or if gearmand would cut it
        :raises TransportError: the connection is lost
        """
        kind, answer = T.GET_STATUS_UNIQUE, T.STATUS_RES_UNIQUE
        raw = _encoded(unique)
        if not 0 < len(raw) <= MAX_NAME:
            kind, answer = T.GET_STATUS, T.STATUS_RES
            raw = _encoded(handle)
        if len(raw) > MAX_NAME or b"\0" in raw:
            return False  # gearmand would not answer, or disconnect
        status = await self._connection.ask(answer, kind, raw)
        return bool(status[1] == b"1")

    async def listeners(self, unique: bytes) -> int | None:
        """Return how many clients wait for a job's answer.

        :param unique: the client's name for the job, in bytes
        :returns: 0 for a background job, None if it is not known
        :raises TransportError: the connection is lost
        """
        # These uniques do not identify a job.
        if unique in (b"", b"-") or len(unique) > MAX_NAME:
            return None
        status = await self._connection.ask(
            T.STATUS_RES_UNIQUE, T.GET_STATUS_UNIQUE, unique
        )
        return int(status[5]) if status[1] == b"1" else None

    def _created(self, background: bool, args: list[bytes]) -> SubmittedJob:
        # Called before the next packet is handled: it may be the job's answer.
        job = SubmittedJob(decoded(args[0]), self._connection.expect())
        if background:
            why = f"job {job.handle} is a background job"
            fail(job.answer, TransportError(why))
        else:
            # Jobs that have joined each other have one handle.
            self._jobs.setdefault(args[0], []).append(job)
        return job

    def _received(self, kind: T, args: list[bytes]) -> None:
        match kind:
            case T.WORK_COMPLETE:
                for job in self._jobs.pop(args[0], ()):
                    if not job.answer.done():  # it may be cancelled
                        job.answer.set_result(args[1])
            case T.WORK_FAIL | T.WORK_EXCEPTION:
                # gearmand adds a NUL to some of these handles.
                for job in self._jobs.pop(args[0].rstrip(b"\0"), ()):
                    why = f"job {job.handle} failed: the worker sent WORK_FAIL"
                    fail(job.answer, JobFailed(why))
            case T.WORK_STATUS:
                # Ignore wrong numbers from a worker; the job goes on.
                with contextlib.suppress(ValueError):
                    progress = int(args[1]), int(args[2])
                    for job in self._jobs.get(args[0], ()):
                        job.progress = progress
            # Any worker may send these; only the answer counts here.
            case _ if kind not in (T.WORK_DATA, T.WORK_WARNING):
                raise protocol.ProtocolError(f"unexpected {kind.name}")


def checked(unique: str) -> str:
    """Return a unique that can be sent.

    :raises RequestError: it cannot be sent
    """
    raw = _encoded(unique)
    if b"\0" in raw or len(raw) > MAX_NAME:
        raise RequestError(
            f"the unique {one_line(unique)!r} has {len(raw)} bytes; a job "
            f"server takes at most {MAX_NAME}, without NUL"
        )
    return unique


def _encoded(name: str) -> bytes:
    # A name from a mark or the command line may contain surrogates.
    return name.encode(errors="backslashreplace")
