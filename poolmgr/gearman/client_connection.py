"""A client's connection to one job server, and the jobs it submits there."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from poolmgr.errors import TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.connection import ConnectionOptions, quiet_future
from poolmgr.gearman.packet_connection import PacketConnection
from poolmgr.gearman.protocol import PacketType, ProtocolError
from poolmgr.text import decoded, one_line

_STATUS = {
    PacketType.GET_STATUS: PacketType.STATUS_RES,
    PacketType.GET_STATUS_UNIQUE: PacketType.STATUS_RES_UNIQUE,
}
_IGNORED = (
    PacketType.ECHO_RES,
    PacketType.WORK_DATA,
    PacketType.WORK_WARNING,
)


class JobFailed(TransportError):
    """The worker gave the job up, or it was cancelled.

    :ivar handle: the job server's name of the job
    """

    def __init__(self, handle: str) -> None:
        self.handle = handle
        super().__init__(f"job {handle} failed: the worker gave it up")


class JobTimeout(TransportError):
    """No answer within the time one was willing to wait.

    :ivar handle: the job server's name of the job
    :ivar seconds: that time
    """

    def __init__(self, handle: str, seconds: float) -> None:
        self.handle = handle
        self.seconds = seconds
        super().__init__(f"job {handle}: no answer within {seconds:g} s")


class SubmittedJob:
    """A job that a job server has taken.

    :ivar server: the job server
    :ivar handle: its name of the job
    :ivar background: then nobody is told of its end
    :ivar progress: numerator and denominator, as the worker last said
    """

    def __init__(
        self, server: Address, handle: bytes, background: bool
    ) -> None:
        self.server = server
        self.handle = decoded(handle)
        self.background = background
        self.progress: tuple[int, int] | None = None
        self._end: asyncio.Future[bytes] = quiet_future()

    @property
    def done(self) -> bool:
        """Whether it has ended, the one way or the other."""
        return self._end.done()

    async def result(self, timeout: float | None = None) -> bytes:
        """The worker's answer.

        :param timeout: seconds; None waits as long as it takes
        :raises JobTimeout: no answer yet; one may wait again
        :raises JobFailed: the worker gave up, or the job was cancelled
        :raises TransportError: the connection was lost, or it is in background
        """
        if self.background:
            raise TransportError(f"job {self.handle} is in background")
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(self._end)
        except TimeoutError:
            raise JobTimeout(self.handle, timeout or 0) from None

    def completed(self, answer: bytes) -> None:
        """The answer came."""
        self._end.set_result(answer)

    def failed(self, error: TransportError) -> None:
        """There will be no answer."""
        self._end.set_exception(error)


class _Question(NamedTuple):
    """What the server has still to answer.

    :ivar answered_by: the type of the packet that answers it
    :ivar understand: makes the answer of the packet's arguments; also when
        nobody waits for it any more
    """

    answered_by: PacketType
    understand: Callable[[list[bytes]], Any]
    answer: asyncio.Future[Any]


class ClientConnection(PacketConnection):
    """Hands in jobs, and tells those who wait for them of their ends."""

    def __init__(self, address: Address, options: ConnectionOptions) -> None:
        super().__init__(options)
        self._address = address
        # They are answered in their order.
        self._questions: deque[_Question] = deque()
        self._jobs: dict[bytes, list[SubmittedJob]] = {}

    async def submit(
        self, kind: PacketType, *args: bytes, background: bool
    ) -> SubmittedJob:
        """Hand in a job; when the server has taken it.

        :raises TransportError: the server refused it, or the connection is
            lost
        """

        def created(args: list[bytes]) -> SubmittedJob:
            (handle,) = args
            job = SubmittedJob(self._address, handle, background)
            if not background:
                # Now, not when submit() goes on: its answer may be next.
                self._jobs.setdefault(handle, []).append(job)
            return job

        job: SubmittedJob = await self._ask(
            PacketType.JOB_CREATED, created, kind, *args
        )
        return job

    async def ask_status(self, kind: PacketType, name: bytes) -> list[bytes]:
        """Ask for the status of a job; the arguments of the answer.

        :param kind: GET_STATUS or GET_STATUS_UNIQUE
        :raises TransportError: the connection is lost
        """
        status: list[bytes] = await self._ask(_STATUS[kind], list, kind, name)
        return status

    def _ask(
        self,
        answered_by: PacketType,
        understand: Callable[[list[bytes]], Any],
        kind: PacketType,
        *args: bytes,
    ) -> asyncio.Future[Any]:
        if self.gone.done():
            raise self._error(self.gone.result())
        question = _Question(answered_by, understand, quiet_future())
        self._questions.append(question)
        self.send(kind, *args)
        return question.answer

    def received(self, kind: PacketType, args: list[bytes]) -> None:
        """Take one packet of the server."""
        match kind:
            case PacketType.WORK_COMPLETE:
                for job in self._jobs.pop(args[0], ()):
                    job.completed(args[1])
            case PacketType.WORK_FAIL | PacketType.WORK_EXCEPTION:
                # gearmand ends some of these handles with a NUL of its own.
                for job in self._jobs.pop(args[0].rstrip(b"\0"), ()):
                    job.failed(JobFailed(job.handle))
            case PacketType.WORK_STATUS:
                self._progressed(*args)
            case _ if kind not in _IGNORED:
                self._answered(kind, args)

    def _answered(self, kind: PacketType, args: list[bytes]) -> None:
        expected = (
            (PacketType.ERROR, self._questions[0].answered_by)
            if self._questions
            else ()
        )
        if kind not in expected:
            raise ProtocolError(f"{kind.name} out of turn")
        question = self._questions.popleft()
        if kind is not PacketType.ERROR:
            answer = question.understand(args)
            if not question.answer.done():
                question.answer.set_result(answer)
        elif not question.answer.done():
            said = f"{one_line(args[0])}: {one_line(args[1])}"
            question.answer.set_exception(self._error(said))

    def _progressed(self, handle: bytes, done: bytes, of: bytes) -> None:
        try:
            progress = int(done), int(of)
        except ValueError:
            return  # what a worker says is no reason to lose its job
        for job in self._jobs.get(handle, ()):
            job.progress = progress

    def ended(self, reason: str) -> None:
        """Nobody who waits will be answered any more."""
        error = self._error(reason)
        for question in self._questions:
            if not question.answer.done():
                question.answer.set_exception(error)
        for jobs in self._jobs.values():
            for job in jobs:
                job.failed(error)

    def _error(self, why: str) -> TransportError:
        return TransportError(f"job server {self._address}: {why}")
