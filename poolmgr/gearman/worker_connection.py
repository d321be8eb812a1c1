"""A worker's connection to one job server, and the jobs that come there."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from poolmgr.gearman.address import Address
from poolmgr.gearman.connection import ConnectionOptions, quiet_future
from poolmgr.gearman.packet_connection import PacketConnection
from poolmgr.gearman.protocol import MAX_NAME, PacketType, ProtocolError
from poolmgr.text import decoded, one_line

log = logging.getLogger(__name__)

GRABS = 8
"""GRAB_JOB_UNIQ that may be on their way on one connection."""


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


class Slots(Protocol):
    """How many jobs may come; called in the loop's thread."""

    def reserve(self) -> bool:
        """Take a slot for one job that may arrive; False if none is free."""

    def release(self) -> None:
        """Give back a slot that was reserved: no job came."""


class Owner(Protocol):
    """What a connection needs of its worker.

    :ivar function: the name of the function
    :ivar client_id: our name in the job server's list of workers
    :ivar slots: how many jobs may come
    """

    function: bytes
    client_id: bytes
    slots: Slots

    def on_job(self, job: Assignment) -> None:
        """Take a job that has come."""

    def grab(self) -> None:
        """Ask for jobs where there may be some, as far as there are slots."""


class WorkerConnection(PacketConnection):
    """Registers, grabs when it is told to, and sends answers.

    :ivar grabs: how many GRABs are on their way; each has a slot
    """

    def __init__(
        self, server: Address, owner: Owner, options: ConnectionOptions
    ) -> None:
        # To end the connection over a job that is too long would have it
        # delivered again, for ever.
        cut = (PacketType.JOB_ASSIGN_UNIQ,)
        super().__init__(options, self._take, self._end, cut)
        self._server = server
        self._owner = owner
        self._jobs: dict[Assignment, None] = {}  # in flight, oldest first
        self.grabs = 0
        self._window = 1  # how many there may be
        self._dry = True  # the server has nothing for us, as far as we know
        self._asleep = False
        self._leaving = False
        self._closing = False
        # Who is to be told at each ECHO_RES what became of an answer.
        self._echoes: deque[OnAnswered | None] = deque()
        self._unmarked = False  # since the last ECHO_REQ an ERROR may follow
        self._refused = False  # since the last ECHO_RES there was an ERROR

    # -- taking jobs --------------------------------------------------------

    @property
    def can_grab(self) -> bool:
        """Whether it would send a GRAB if there were a slot."""
        return self.grabs < self._window and not (
            self._dry or self._leaving or self.gone.done()
        )

    def grab(self) -> None:
        """Ask for a job, for which a slot is reserved."""
        self.grabs += 1
        self._asleep = False
        self.send(PacketType.GRAB_JOB_UNIQ)

    def look_for_jobs(self) -> None:
        """There may be jobs now."""
        self._dry = False
        self._asleep = False
        self._owner.grab()

    def leave(self) -> None:
        """Grab no more.

        A server counts on a worker that sleeps. One last GRAB ends that.
        """
        self._leaving = True
        if self._asleep and self._owner.slots.reserve():
            self.grab()

    async def finish(self, timeout: float) -> None:
        """Learn what became of the answers that were sent, and end.

        Jobs that still arrive are left to the server.

        :param timeout: seconds that the server has to take them
        """
        self._leaving = self._closing = True
        settled = quiet_future()
        self._send_echo(settled.set_result)
        await asyncio.wait([settled], timeout=timeout)
        await self.close("the worker was closed", 1)

    # -- the wire -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Once: gearmand would count another worker.
        if self._owner.client_id:
            self.send(PacketType.SET_CLIENT_ID, self._owner.client_id)
        self.send(PacketType.CAN_DO, self._owner.function)
        super().connection_made(transport)

    def ping(self) -> None:
        """Ask for a sign of life, and for a job that nobody was woken for.

        gearmand wakes nobody for a job whose time has come, and with
        ``--worker-wakeup`` it may wake a worker that has no slot.
        """
        self._send_echo(None)
        if self.answered.done():
            self.look_for_jobs()

    def _take(self, kind: PacketType, args: list[bytes]) -> None:
        match kind:
            case PacketType.JOB_ASSIGN_UNIQ:
                self._grabbed(kind)
                self._assigned(args[0], args[2], args[3])
            case PacketType.NO_JOB:
                self._grabbed(kind)
                self._no_job()
            case PacketType.ECHO_RES:
                self._echoed()
            case PacketType.NOOP:
                self.look_for_jobs()
            case PacketType.ERROR:
                code, text = one_line(args[0]), one_line(args[1])
                log.info(
                    "Job server %s: ERROR %s: %s", self._server, code, text
                )
                self._refused = True
            case _:
                raise ProtocolError(f"{kind.name} is not for a worker")

    def _grabbed(self, kind: PacketType) -> None:
        if not self.grabs:
            raise ProtocolError(f"{kind.name} out of turn")
        self.grabs -= 1

    def _assigned(self, handle: bytes, unique: bytes, payload: bytes) -> None:
        if self._closing:
            # The connection ends soon, and the server hands the job on then.
            self._owner.slots.release()
            return
        self._dry = False
        self._window = min(GRABS, self._window * 2)
        job = Assignment(
            self._server, self._send_about, handle, unique, payload
        )
        self._jobs[job] = None
        self._owner.on_job(job)
        self._owner.grab()

    def _no_job(self) -> None:
        self._dry = True
        self._window = 1
        if not (self.grabs or self._leaving or self._asleep):
            # To be woken when there is something.
            self._asleep = True
            self.send(PacketType.PRE_SLEEP)
        self._owner.slots.release()
        self._owner.grab()

    # An ERROR does not say which packet it is about. So an answer whose fate
    # matters stands between two ECHO_REQ: an ERROR between their responses
    # is about it.

    def _send_about(
        self,
        job: Assignment,
        kind: PacketType,
        what: bytes,
        on_answered: OnAnswered | None,
    ) -> None:
        """Send the answer of a job in flight here, or its progress."""
        if job.completed:
            del self._jobs[job]
        if on_answered is not None and self._unmarked:
            self._send_echo(None)
        self.send(kind, job.raw_handle, what)
        self._unmarked = True
        if on_answered is not None:
            self._send_echo(on_answered)

    def _send_echo(self, on_answered: OnAnswered | None) -> None:
        self._unmarked = False
        self._echoes.append(on_answered)
        self.send(PacketType.ECHO_REQ, b"")

    def _echoed(self) -> None:
        if not self._echoes:
            raise ProtocolError("ECHO_RES out of turn")
        refused, self._refused = self._refused, False
        on_answered = self._echoes.popleft()
        if on_answered is not None:
            on_answered(
                AnswerStatus.UNKNOWN if refused else AnswerStatus.DELIVERED
            )

    def _end(self, reason: str) -> None:
        """Nothing in flight can be answered any more."""
        jobs, self._jobs = self._jobs, {}
        if jobs:
            log.warning(
                "Job server %s: %d jobs were lost with the connection; it "
                "gives them to a worker again if it still has them",
                self._server,
                len(jobs),
            )
        for job in jobs:
            job.lost = True
        for on_answered in self._echoes:
            if on_answered is not None:
                on_answered(AnswerStatus.LOST)
        while self.grabs:
            self.grabs -= 1
            self._owner.slots.release()
        for job in jobs:
            if job.on_lost is not None:
                job.on_lost()
        self._owner.grab()
