"""A worker's connection to one job server."""

import asyncio
import logging
from collections import deque
from typing import Protocol

from poolmgr.gearman.address import Address
from poolmgr.gearman.connection import ConnectionOptions, quiet_future
from poolmgr.gearman.jobs import AnswerStatus, Assignment, OnAnswered
from poolmgr.gearman.packet_connection import PacketConnection
from poolmgr.gearman.protocol import PacketType, ProtocolError
from poolmgr.text import one_line

log = logging.getLogger(__name__)

GRABS = 8
"""GRAB_JOB_UNIQ that may be on their way on one connection."""


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
        super().__init__(options, self._take, self._end)
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
