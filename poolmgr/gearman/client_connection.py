"""A client's connection to one job server."""

import asyncio
from collections import deque

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


class ClientConnection(Connection):
    """Hands in jobs, and tells those who wait for them of their ends.

    :ivar ready: done when the server has answered for the first time
    """

    def __init__(self, address: Address, options: ConnectionOptions) -> None:
        super().__init__(options)
        self._address = address
        self.ready: asyncio.Future[SubmittedJob | None] = quiet_future()
        # Who waits for JOB_CREATED or OPTION_RES, which come in order.
        self._asked: deque[
            tuple[asyncio.Future[SubmittedJob | None], bool]
        ] = deque()
        self._jobs: dict[bytes, list[SubmittedJob]] = {}
        # Who asked for a status; these come in order, too.
        self._asking: deque[asyncio.Future[list[bytes]]] = deque()

    def greet(self) -> None:
        """Ask for the words of exceptions."""
        # Without it an exception is told as a failure without a word.
        self._asked.append((self.ready, False))
        self.send(encode(PacketType.OPTION_REQ, b"exceptions"))

    async def submit(self, packet: bytes, background: bool) -> SubmittedJob:
        """Hand in a job; when the server has taken it.

        :raises TransportError: the server refused it, or the connection is
            lost
        """
        self._require_open()
        created: asyncio.Future[SubmittedJob | None] = quiet_future()
        self._asked.append((created, background))
        self.send(packet)
        job = await created
        if job is None:
            raise ProtocolError("OPTION_RES out of turn")
        return job

    async def ask(self, packet: bytes) -> list[bytes]:
        """Ask for the status of a job; the arguments of the answer.

        :raises TransportError: the connection is lost
        """
        self._require_open()
        told: asyncio.Future[list[bytes]] = quiet_future()
        self._asking.append(told)
        self.send(packet)
        return await told

    def received(self, kind: PacketType, args: list[bytes]) -> None:
        """Take one packet of the server."""
        if kind is PacketType.JOB_CREATED:
            self._created(args[0])
        elif kind in (PacketType.STATUS_RES, PacketType.STATUS_RES_UNIQUE):
            self._told(kind, args)
        elif kind is PacketType.WORK_COMPLETE:
            for job in self._jobs.pop(args[0], ()):
                job.completed(args[1])
        elif kind is PacketType.WORK_FAIL:
            self._failed(args[0], "the worker gave it up")
        elif kind is PacketType.WORK_EXCEPTION:
            self._failed(args[0], one_line(args[1]))
        elif kind is PacketType.WORK_STATUS:
            self._progressed(*args)
        elif kind is PacketType.ERROR:
            self._refused(args)
        elif kind is PacketType.OPTION_RES:
            self._answered(kind)[0].set_result(None)
        elif kind not in (
            PacketType.ECHO_RES,
            PacketType.WORK_DATA,
            PacketType.WORK_WARNING,
        ):
            raise ProtocolError(f"{kind.name} is not for a client")

    def _require_open(self) -> None:
        if self.gone.done():
            reason = self.gone.result()
            raise TransportError(f"job server {self._address}: {reason}")

    def _answered(
        self, kind: PacketType
    ) -> tuple[asyncio.Future[SubmittedJob | None], bool]:
        """Who asked for this; the future is not done."""
        if not self._asked:
            raise ProtocolError(f"{kind.name} out of turn")
        future, background = self._asked.popleft()
        # Who gave up waiting still has its place in the order.
        return (quiet_future() if future.done() else future), background

    def _created(self, handle: bytes) -> None:
        future, background = self._answered(PacketType.JOB_CREATED)
        job = SubmittedJob(self._address, handle, background)
        if not background:
            # Now, not when submit() goes on: its answer may be next.
            self._jobs.setdefault(handle, []).append(job)
        future.set_result(job)

    def _told(self, kind: PacketType, args: list[bytes]) -> None:
        if not self._asking:
            raise ProtocolError(f"{kind.name} out of turn")
        future = self._asking.popleft()
        if not future.done():
            future.set_result(args)

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
        future, _ = self._answered(PacketType.ERROR)
        if future is self.ready:
            future.set_result(None)  # it does without exceptions
            return
        code, text = one_line(args[0]), one_line(args[1])
        future.set_exception(
            TransportError(f"job server {self._address}: {code}: {text}")
        )

    def ended(self, reason: str) -> None:
        """Nobody who waits will be answered any more."""
        error = TransportError(f"job server {self._address}: {reason}")
        while self._asked:
            future, _ = self._asked.popleft()
            if not future.done():
                # Before it was ready, who connects names the server.
                future.set_exception(
                    TransportError(reason) if future is self.ready else error
                )
        while self._asking:
            told = self._asking.popleft()
            if not told.done():
                told.set_exception(error)
        for jobs in self._jobs.values():
            for job in jobs:
                job.failed(error)
        self._jobs.clear()
