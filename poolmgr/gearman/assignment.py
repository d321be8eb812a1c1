"""Jobs that job servers assign to a worker."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from poolmgr.gearman.connection import Connection
from poolmgr.gearman.endpoint import Address
from poolmgr.gearman.protocol import MAX_NAME, PacketType
from poolmgr.text import decoded


@dataclass(eq=False, slots=True)
class Assignment:
    """One job to be answered; all its methods belong to the loop's thread.

    :ivar server: the job server that assigned it
    :ivar connection: the connection it arrived on, which has to answer it
    :ivar unanswered: the unanswered jobs of that connection
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

        One that was cut gets the handle added, to be unique again.
        """
        unique = decoded(self.raw_unique)
        return f"{unique}+{self.handle}" if self.cut else unique

    @property
    def lost(self) -> bool:
        """Whether the connection is gone: the server gives the job to
        somebody else."""
        return self.connection.gone.done()

    def complete(self, answer: bytes) -> None:
        """Answer the job; a lost job has no effect."""
        self.unanswered.discard(self)
        self.connection.send(PacketType.WORK_COMPLETE, self.raw_handle, answer)

    def deliver(self, answer: bytes) -> asyncio.Future[bool]:
        """Answer the job, and tell whether the answer was accepted.

        :returns: False if the job server does not know the job any more; a
            :exc:`TransportError` if the connection was lost before that was
            known
        """
        self.unanswered.discard(self)
        return self.connection.deliver(
            PacketType.WORK_COMPLETE, self.raw_handle, answer
        )

    def progress(self, done: int, total: int) -> None:
        """Tell the client how far an unanswered job is."""
        if self in self.unanswered:
            steps = b"%d\0%d" % (done, total)
            self.connection.send(
                PacketType.WORK_STATUS, self.raw_handle, steps
            )
