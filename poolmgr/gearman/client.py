"""Submit jobs and wait for their answers."""

import asyncio
import uuid
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self

from poolmgr.errors import ConfigError, TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.connect import connect
from poolmgr.gearman.link import Link
from poolmgr.gearman.options import LinkOptions
from poolmgr.gearman.protocol import (
    MAX_NAME,
    PacketType,
    ProtocolError,
    encode,
)
from poolmgr.gearman.stranger import describe_silence
from poolmgr.text import decoded, one_line

Priority = Literal["low", "normal", "high"]

_SUBMIT = {
    ("low", False): PacketType.SUBMIT_JOB_LOW,
    ("normal", False): PacketType.SUBMIT_JOB,
    ("high", False): PacketType.SUBMIT_JOB_HIGH,
    ("low", True): PacketType.SUBMIT_JOB_LOW_BG,
    ("normal", True): PacketType.SUBMIT_JOB_BG,
    ("high", True): PacketType.SUBMIT_JOB_HIGH_BG,
}


class JobFailed(TransportError):
    """The worker gave the job up, or it was cancelled.

    :ivar handle: the job server's name of the job
    """

    def __init__(self, handle: str, why: str) -> None:
        self.handle = handle
        super().__init__(f"job {handle} failed: {why}")


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
        self._end: asyncio.Future[bytes] = _quiet_future()

    @property
    def done(self) -> bool:
        """Whether it has ended, the one way or the other."""
        return self._end.done()

    async def result(self, timeout: float | None = None) -> bytes:
        """The worker's answer.

        :param timeout: seconds; None waits as long as it takes
        :raises JobTimeout: no answer yet; one may wait again
        :raises JobFailed: the worker gave up, or the job was cancelled
        :raises TransportError: the link was lost, or it is in background
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
        if not self._end.done():
            self._end.set_result(answer)

    def failed(self, error: TransportError) -> None:
        """There will be no answer."""
        if not self._end.done():
            self._end.set_exception(error)


class Client:
    """Submits jobs to the first of the job servers that can be reached.

    Use it with ``async with``. Many jobs may be under way at once; each
    comes back by itself. A lost link is not replaced: all jobs that wait
    on it fail then, and so does each later submit.

    :param servers: in the order in which they are tried
    """

    def __init__(
        self, servers: Sequence[Address], options: LinkOptions | None = None
    ) -> None:
        if not servers:
            raise ConfigError("no job server is given")
        self._servers = servers
        self._options = options or LinkOptions()
        self._link: _ClientLink | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        :raises TransportError: with all servers and why each failed
        """
        failures = []
        for server in self._servers:
            try:
                self._link = await self._connect(server)
                return self
            except TransportError as error:
                failures.append(f"{server}: {error}")
        raise TransportError(f"no job server reached: {'; '.join(failures)}")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close("the client was closed")
            if kind is None:  # else nobody has the time
                await asyncio.wait([link.gone], timeout=2)
            link.drop("the client was closed")

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
        :raises TransportError: the server refused it, or the link is lost
        """
        if self._link is None:
            raise TransportError("the client is not connected")
        if unique is None:
            unique = str(uuid.uuid4())
        raw = _unique(unique)
        if not function or "\0" in function:
            raise ConfigError("a function's name is not empty, without NUL")
        packet = encode(
            _SUBMIT[priority, background], function.encode(), raw, payload
        )
        return await self._link.submit(packet, background)

    async def has(self, *, unique: str = "", handle: str = "") -> bool:
        """Whether the job server has a job, queued or running.

        :param unique: the client's name of the job
        :param handle: the job server's, which counts if there is no unique,
            or if the unique is longer than gearmand keeps
        :raises TransportError: the link is lost
        """
        if self._link is None:
            raise TransportError("the client is not connected")
        # What is read back from a cloud may be no text at all.
        kind, raw = (
            PacketType.GET_STATUS_UNIQUE,
            unique.encode(errors="replace"),
        )
        if not 0 < len(raw) <= MAX_NAME:
            kind, raw = PacketType.GET_STATUS, handle.encode(errors="replace")
        if len(raw) > MAX_NAME or b"\0" in raw:
            return False  # gearmand answers nothing, or closes the link
        return (await self._link.ask(encode(kind, raw)))[1] == b"1"

    async def listeners(self, unique: bytes) -> int | None:
        """How many clients wait for the answer of a job; 0 if it is in
        background, None if that cannot be told.

        :param unique: as it is on the wire
        :raises TransportError: the link is lost
        """
        if self._link is None:
            raise TransportError("the client is not connected")
        # Without a unique of its own nobody's name tells which job it is.
        if unique in (b"", b"-") or len(unique) > MAX_NAME:
            return None
        packet = encode(PacketType.GET_STATUS_UNIQUE, unique)
        told = await self._link.ask(packet)
        return int(told[5]) if told[1] == b"1" else None

    async def _connect(self, server: Address) -> "_ClientLink":
        link = await connect(
            server,
            self._options,
            lambda: _ClientLink(server, self._options),
        )
        try:
            # One that accepts and says nothing has not been reached.
            limit = self._options.connect_timeout
            async with asyncio.timeout(limit):
                await link.ready
        except TimeoutError:
            link.drop("silent")
            raise TransportError(
                f"silent for {limit:g} s: {describe_silence(self._options)}"
            ) from None
        except BaseException:
            link.drop("given up")
            raise
        return link


class _ClientLink(Link):
    def __init__(self, address: Address, options: LinkOptions) -> None:
        super().__init__(options)
        self._address = address
        self.ready: asyncio.Future[SubmittedJob | None] = _quiet_future()
        # Who waits for JOB_CREATED or OPTION_RES, which come in order.
        self._asked: deque[
            tuple[asyncio.Future[SubmittedJob | None], bool]
        ] = deque()
        self._jobs: dict[bytes, list[SubmittedJob]] = {}
        # Who asked for a status; these come in order, too.
        self._asking: deque[asyncio.Future[list[bytes]]] = deque()

    def greet(self) -> None:
        # Without it an exception is told as a failure without a word.
        self._asked.append((self.ready, False))
        self.send(encode(PacketType.OPTION_REQ, b"exceptions"))

    async def submit(self, packet: bytes, background: bool) -> SubmittedJob:
        if self.gone.done():
            raise TransportError(
                f"job server {self._address}: {self.gone.result()}"
            )
        created: asyncio.Future[SubmittedJob | None] = _quiet_future()
        self._asked.append((created, background))
        self.send(packet)
        job = await created
        if job is None:
            raise ProtocolError("OPTION_RES out of turn")
        return job

    async def ask(self, packet: bytes) -> list[bytes]:
        if self.gone.done():
            raise TransportError(
                f"job server {self._address}: {self.gone.result()}"
            )
        told: asyncio.Future[list[bytes]] = _quiet_future()
        self._asking.append(told)
        self.send(packet)
        return await told

    def received(self, kind: PacketType, args: list[bytes]) -> None:
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

    def _answered(
        self, kind: PacketType
    ) -> tuple[asyncio.Future[SubmittedJob | None], bool]:
        """Who asked for this; the future is not done."""
        if not self._asked:
            raise ProtocolError(f"{kind.name} out of turn")
        future, background = self._asked.popleft()
        # Who gave up waiting still has its place in the order.
        return (_quiet_future() if future.done() else future), background

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


def _unique(unique: str) -> bytes:
    try:
        raw = unique.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"the unique {one_line(unique)!r} is not UTF-8"
        ) from None
    if b"\0" in raw:
        raise ConfigError(f"the unique {one_line(unique)!r} contains NUL")
    if len(raw) > MAX_NAME:
        raise ConfigError(
            f"the unique has {len(raw)} bytes: gearmand garbles jobs whose "
            f"unique has more than {MAX_NAME}"
        )
    return raw


def _quiet_future() -> asyncio.Future[Any]:
    """A future whose error nobody needs to look at."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda f: f.cancelled() or f.exception())
    return future
