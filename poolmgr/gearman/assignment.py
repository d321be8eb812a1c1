"""Jobs that job servers assign to a worker."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from poolmgr.gearman.connection import Connection
from poolmgr.gearman.endpoint import Address
from poolmgr.gearman.protocol import MAX_NAME, PacketType
from poolmgr.text import decoded


# Sets compare it by identity: two jobs may have the same contents.
@dataclass(eq=False, slots=True)
class Assignment:
    """An assigned job. Call its methods on the loop's thread.

    :ivar server: the job server that assigned it
    :ivar connection: the connection that it arrived on
    :ivar unanswered: the unanswered jobs of that connection
    :ivar raw_handle: the handle in bytes
    :ivar raw_unique: the unique in bytes
    :ivar payload: the client's message
    :ivar on_lost: called if the connection is lost before the answer was sent
    :ivar cut: whether the job server cut the unique; then other jobs may have
        the same
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
        # gearmand sends the first 63 bytes of a longer unique, and puts a NUL
        # before the payload.
        self.cut = len(self.raw_unique) == MAX_NAME and (
            self.payload.startswith(b"\0")
        )
        if self.cut:
            self.payload = self.payload[1:]

    @property
    def handle(self) -> str:
        """The job server's name for the job; reused after a restart."""
        return decoded(self.raw_handle)

    @property
    def unique(self) -> str:
        """The client's name for the job; may be empty.

        If it was cut, the handle is appended to make it unique again.
        """
        unique = decoded(self.raw_unique)
        return f"{unique}+{self.handle}" if self.cut else unique

    @property
    def lost(self) -> bool:
        """Whether the connection is lost, and the job with it."""
        return self.connection.gone.done()

    def complete(self, answer: bytes) -> None:
        """Answer the job; without effect if it is lost."""
        self.unanswered.discard(self)
        self.connection.send(PacketType.WORK_COMPLETE, self.raw_handle, answer)

    def deliver(self, answer: bytes) -> asyncio.Future[bool]:
        """Answer the job, and learn whether the job server takes the answer.

        :returns: a future; False if the job server does not know the job any
            more, a ``TransportError`` if the connection is lost before that is
            known
        """
        self.unanswered.discard(self)
        return self.connection.deliver(
            PacketType.WORK_COMPLETE, self.raw_handle, answer
        )

    def progress(self, done: int, total: int) -> None:
        """Report the progress of an unanswered job to its client."""
        # gearmand refuses a late WORK_STATUS with an ERROR, which deliver()
        # would take for the refusal of an answer.
        if self in self.unanswered:
            steps = b"%d\0%d" % (done, total)
            self.connection.send(
                PacketType.WORK_STATUS, self.raw_handle, steps
            )
