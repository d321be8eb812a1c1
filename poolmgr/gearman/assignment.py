"""Jobs that job servers assign to a worker, and how many may come."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from poolmgr.gearman.connection import Connection
from poolmgr.gearman.endpoint import Address
from poolmgr.gearman.protocol import MAX_NAME, PacketType
from poolmgr.text import decoded


class Slots(Protocol):
    """How many jobs may come; called in the loop's thread."""

    def reserve(self) -> bool:
        """Take a slot for one job that may arrive; False if none is free."""

    def release(self) -> None:
        """Give back a slot that was reserved: no job came."""


@dataclass(eq=False, slots=True)
class Assignment:
    """One job to be answered; all its methods belong to the loop's thread.

    :ivar server: the job server that assigned it
    :ivar connection: what brought it; no other may answer it
    :ivar unanswered: all jobs of the connection that are to be answered
    :ivar raw_handle: the handle as it is on the wire
    :ivar raw_unique: the unique as it is on the wire
    :ivar payload: what the client sent
    :ivar on_lost: called if the connection is lost before it was answered
    :ivar cut: the job server has cut the unique, so that jobs of different
        uniques may have the same here
    """

    server: Address
    connection: Connection
    unanswered: "set[Assignment]"
    raw_handle: bytes
    raw_unique: bytes
    payload: bytes
    on_lost: Callable[[], None] | None = None
    cut: bool = False

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

    @property
    def lost(self) -> bool:
        """Whether the connection is gone: the server gives the job to
        somebody else."""
        return self.connection.gone.done()

    def complete(self, answer: bytes) -> None:
        """Answer the job. Nothing is sent when it is lost."""
        self.unanswered.discard(self)
        self.connection.send(PacketType.WORK_COMPLETE, self.raw_handle, answer)

    def deliver(self, answer: bytes) -> asyncio.Future[bool]:
        """Answer the job, and learn what becomes of the answer.

        :returns: whether the job server took it; it does not if it does not
            know the job (any more). A :exc:`TransportError` if the
            connection was lost before the one or the other was known
        """
        self.unanswered.discard(self)
        return self.connection.deliver(
            PacketType.WORK_COMPLETE, self.raw_handle, answer
        )

    def progress(self, done: int, total: int) -> None:
        """Tell the client how far a job is that is not answered."""
        if self in self.unanswered:
            steps = b"%d\0%d" % (done, total)
            self.connection.send(
                PacketType.WORK_STATUS, self.raw_handle, steps
            )
