"""One job, as a worker and as a client has it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from poolmgr.errors import TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.connection import quiet_future
from poolmgr.gearman.protocol import MAX_NAME, PacketType
from poolmgr.text import decoded


class AnswerStatus(Enum):
    """What became of an answer."""

    DELIVERED = "delivered"
    """The job server took it."""
    UNKNOWN = "unknown"
    """The job server does not know the job (any more): it was cancelled."""
    LOST = "lost"
    """The connection was lost before the one or the other was known."""
    UNSENT = "unsent"
    """The connection was gone before the answer could be sent."""


OnAnswered = Callable[[AnswerStatus], None]


@dataclass(eq=False, slots=True)
class Assignment:
    """One job to be answered; all its methods belong to the loop's thread.

    :ivar server: the job server that assigned it
    :ivar send: sends a packet about the job on the connection that brought
        it, the only one that may answer it; with the answer comes what to
        call when it is known what became of it
    :ivar raw_handle: the handle as it is on the wire
    :ivar raw_unique: the unique as it is on the wire
    :ivar payload: what the client sent
    :ivar cut: the job server has cut the unique, so that jobs of different
        uniques may have the same here
    :ivar lost: the connection is gone; the server gives the job to somebody
        else
    :ivar completed: it was answered
    :ivar on_lost: called when that happens before the job was completed
    """

    server: Address
    send: "Callable[[Assignment, PacketType, bytes, OnAnswered | None], None]"
    raw_handle: bytes
    raw_unique: bytes
    payload: bytes
    cut: bool = False
    lost: bool = False
    completed: bool = False
    on_lost: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        # Of a unique of 64 bytes gearmand sends 63, a NUL, and a payload
        # that starts with another NUL.
        self.cut = len(self.raw_unique) == MAX_NAME and (
            self.payload.startswith(b"\0")
        )
        if self.cut:
            self.payload = self.payload[1:]

    @property
    def handle(self) -> str:
        """The job server's name of the job, unique until it restarts."""
        return decoded(self.raw_handle)

    @property
    def unique(self) -> str:
        """The client's name of the job; may be empty.

        What is left of one that was cut is made unique by the handle.
        """
        unique = decoded(self.raw_unique)
        return f"{unique}+{self.handle}" if self.cut else unique

    def complete(
        self, answer: bytes, on_answered: OnAnswered | None = None
    ) -> None:
        """Answer the job. Nothing is sent when it is lost.

        :param on_answered: called once with what became of the answer
        :raises RuntimeError: when it was answered before
        """
        if self.completed:
            raise RuntimeError(f"job {self.handle} was answered before")
        self.completed = True
        if not self.lost:
            self.send(self, PacketType.WORK_COMPLETE, answer, on_answered)
        elif on_answered is not None:
            on_answered(AnswerStatus.UNSENT)

    def progress(self, done: int, total: int) -> None:
        """Tell the client how far it is. Nothing is sent when it is lost
        or completed."""
        if not (self.lost or self.completed):
            steps = b"%d\0%d" % (done, total)
            self.send(self, PacketType.WORK_STATUS, steps, None)


class JobFailed(TransportError):
    """The worker gave the job up, or it was cancelled."""


class JobTimeout(TransportError):
    """No answer within the time one was willing to wait."""


class SubmittedJob:
    """A job that a job server has taken.

    :ivar server: the job server
    :ivar handle: its name of the job
    :ivar background: then nobody is told of its end
    :ivar progress: numerator and denominator, as the worker last said
    """

    def __init__(self, server: Address, handle: bytes) -> None:
        self.server = server
        self.handle = decoded(handle)
        self.background = False
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
            raise JobTimeout(
                f"job {self.handle}: no answer within {timeout:g} s"
            ) from None

    def completed(self, answer: bytes) -> None:
        """The answer came."""
        self._end.set_result(answer)

    def failed(self, error: TransportError) -> None:
        """There will be no answer."""
        self._end.set_exception(error)
