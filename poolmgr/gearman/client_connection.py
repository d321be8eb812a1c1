"""A client's connection to one job server."""

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from poolmgr.errors import TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.connection import Connection
from poolmgr.gearman.options import ConnectionOptions
from poolmgr.gearman.protocol import PacketType, ProtocolError, encode
from poolmgr.gearman.submitted_job import (
    JobFailed,
    SubmittedJob,
    quiet_future,
)
from poolmgr.text import one_line

_CREATED = (PacketType.JOB_CREATED,)
_OPTION = (PacketType.OPTION_RES,)
_STATUS = (PacketType.STATUS_RES, PacketType.STATUS_RES_UNIQUE)
_IGNORED = (
    PacketType.ECHO_RES,
    PacketType.WORK_DATA,
    PacketType.WORK_WARNING,
)


@dataclass(frozen=True)
class _Request:
    """What the server has still to answer.

    :ivar answers: the types of packets that it may be answered by
    :ivar answer: the answer's meaning, when it has come
    :ivar background: of a job: whether nobody is told of its end
    """

    answers: Collection[PacketType]
    answer: asyncio.Future[Any]
    background: bool = False


class ClientConnection(Connection):
    """Hands in jobs, and tells those who wait for them of their ends.

    :ivar ready: done when the server has answered for the first time
    """

    def __init__(self, address: Address, options: ConnectionOptions) -> None:
        super().__init__(options)
        self._address = address
        self.ready: asyncio.Future[None] = quiet_future()
        # They are answered in their order.
        self._requests: deque[_Request] = deque()
        self._jobs: dict[bytes, list[SubmittedJob]] = {}

    def greet(self) -> None:
        """Ask for the words of exceptions."""
        # Without it an exception is told as a failure without a word.
        self._requests.append(_Request(_OPTION, self.ready))
        self.send(encode(PacketType.OPTION_REQ, b"exceptions"))

    async def submit(self, packet: bytes, background: bool) -> SubmittedJob:
        """Hand in a job; when the server has taken it.

        :raises TransportError: the server refused it, or the connection is
            lost
        """
        request = _Request(_CREATED, quiet_future(), background)
        job: SubmittedJob = await self._sent(packet, request)
        return job

    async def ask(self, packet: bytes) -> list[bytes]:
        """Ask for the status of a job; the arguments of the answer.

        :raises TransportError: the connection is lost
        """
        request = _Request(_STATUS, quiet_future())
        args: list[bytes] = await self._sent(packet, request)
        return args

    def _sent(self, packet: bytes, request: _Request) -> asyncio.Future[Any]:
        if self.gone.done():
            reason = self.gone.result()
            raise TransportError(f"job server {self._address}: {reason}")
        self._requests.append(request)
        self.send(packet)
        return request.answer

    def received(self, kind: PacketType, args: list[bytes]) -> None:
        """Take one packet of the server."""
        match kind:
            case PacketType.JOB_CREATED:
                self._created(args[0])
            case PacketType.STATUS_RES | PacketType.STATUS_RES_UNIQUE:
                self._next_request(kind).answer.set_result(args)
            case PacketType.OPTION_RES:
                self._next_request(kind).answer.set_result(None)
            case PacketType.WORK_COMPLETE:
                for job in self._jobs.pop(args[0], ()):
                    job.completed(args[1])
            case PacketType.WORK_FAIL:
                self._failed(args[0], "the worker gave it up")
            case PacketType.WORK_EXCEPTION:
                self._failed(args[0], one_line(args[1]))
            case PacketType.WORK_STATUS:
                self._progressed(*args)
            case PacketType.ERROR:
                self._refused(args)
            case _ if kind not in _IGNORED:
                raise ProtocolError(f"{kind.name} is not for a client")

    def _next_request(self, kind: PacketType) -> _Request:
        """The request that a packet answers; nobody has answered it."""
        request = self._requests[0] if self._requests else None
        if request is None or not (
            kind is PacketType.ERROR or kind in request.answers
        ):
            raise ProtocolError(f"{kind.name} out of turn")
        self._requests.popleft()
        if request.answer.done():
            # Who gave up waiting still has its place in the order.
            return _Request(
                request.answers, quiet_future(), request.background
            )
        return request

    def _created(self, handle: bytes) -> None:
        request = self._next_request(PacketType.JOB_CREATED)
        job = SubmittedJob(self._address, handle, request.background)
        if not request.background:
            # Now, not when submit() goes on: its answer may be next.
            self._jobs.setdefault(handle, []).append(job)
        request.answer.set_result(job)

    def _failed(self, handle: bytes, why: str) -> None:
        # gearmand ends some of these handles with a NUL of its own.
        for job in self._jobs.pop(handle.rstrip(b"\0"), ()):
            job.failed(JobFailed(job.handle, why))

    def _progressed(self, handle: bytes, done: bytes, of: bytes) -> None:
        try:
            progress = int(done), int(of)
        except ValueError:
            return  # what a worker says is no reason to lose its job
        for job in self._jobs.get(handle, ()):
            job.progress = progress

    def _refused(self, args: list[bytes]) -> None:
        request = self._next_request(PacketType.ERROR)
        if request.answer is self.ready:
            self.ready.set_result(None)  # it does without exceptions
            return
        code, text = one_line(args[0]), one_line(args[1])
        request.answer.set_exception(
            TransportError(f"job server {self._address}: {code}: {text}")
        )

    def ended(self, reason: str) -> None:
        """Nobody who waits will be answered any more."""
        error = TransportError(f"job server {self._address}: {reason}")
        if not self.ready.done():
            # Who connects names the server.
            self.ready.set_exception(TransportError(reason))
        for request in self._requests:
            if not request.answer.done():
                request.answer.set_exception(error)
        self._requests.clear()
        for jobs in self._jobs.values():
            for job in jobs:
                job.failed(error)
        self._jobs.clear()
