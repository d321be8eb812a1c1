"""A worker's connection to one job server."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from poolmgr.gearman.address import Address
from poolmgr.gearman.assignment import Assignment, OnAnswered
from poolmgr.gearman.connection import Connection
from poolmgr.gearman.expected import Answer, Echo, Expected, Grab, guarded
from poolmgr.gearman.options import ConnectionOptions
from poolmgr.gearman.protocol import PacketType, ProtocolError, encode
from poolmgr.text import one_line

log = logging.getLogger(__name__)

GRABS = 8
"""GRAB_JOB_UNIQ that may be on their way on one connection."""

_FIRST = 2
"""The window after the first of several jobs."""

_GRAB_JOB = encode(PacketType.GRAB_JOB_UNIQ)
_PRE_SLEEP = encode(PacketType.PRE_SLEEP)
_ECHO_REQ = encode(PacketType.ECHO_REQ, b"")


class Slots(Protocol):
    """How many jobs may come; called in the loop's thread."""

    def reserve(self) -> bool:
        """Take a slot for one job that may arrive; False if none is free."""

    def release(self) -> None:
        """Give back a slot that was reserved: no job came."""


@dataclass(frozen=True)
class Callbacks:
    """What a connection tells its worker.

    :ivar on_job: called with each job that comes
    :ivar on_registered: the server knows us and has given a sign of life
    :ivar on_change: called with the connection when it was made, when it
        can grab, and when it gave back a slot
    """

    on_job: Callable[[Assignment], None]
    on_registered: Callable[[], None]
    on_change: "Callable[[WorkerConnection], None]"


class WorkerConnection(Connection):
    """Registers, grabs when it is told to, and sends answers.

    :ivar registered: the server knows us and has given a sign of life
    :ivar grabs: how many GRABs are on their way
    """

    # To end the connection would have the job delivered again, for ever.
    cut = (PacketType.JOB_ASSIGN, PacketType.JOB_ASSIGN_UNIQ)

    def __init__(
        self,
        address: Address,
        function: bytes,
        client_id: bytes,
        slots: Slots,
        callbacks: Callbacks,
        options: ConnectionOptions,
    ) -> None:
        super().__init__(options)
        self._address = address
        self._function = function
        self._client_id = client_id
        self._slots = slots
        self._callbacks = callbacks
        self._expected = Expected()
        self._jobs: dict[Assignment, None] = {}  # in flight, oldest first
        self._window = 1
        self._dry = True  # the server has nothing for us, as far as we know
        self._asleep = False
        self._doubt: asyncio.TimerHandle | None = None
        self._leaving = False
        self._closing = False
        self.registered = False
        self.grabs = 0

    # -- taking jobs --------------------------------------------------------

    @property
    def can_grab(self) -> bool:
        """Whether it would send a GRAB if there were a slot."""
        return self.grabs < self._window and not (
            self._dry or self._leaving or self.gone.done()
        )

    def grab(self, reserved: bool = True) -> None:
        """Ask for a job.

        :param reserved: whether there is a slot reserved for it
        """
        self.grabs += 1
        self._asleep = False
        self._expected.add(Grab(reserved))
        self.send(_GRAB_JOB)

    def leave(self) -> None:
        """Grab no more.

        A server counts on a worker that sleeps. One last GRAB ends that,
        and it cannot be told beforehand whether it yields a job.
        """
        self._leaving = True
        if self._asleep:
            self.grab(reserved=self._slots.reserve())

    def settle(self) -> asyncio.Future[None]:
        """Leave jobs that still arrive to the server from now on.

        :returns: done when the server has taken all that was sent so far
        """
        self._leaving = self._closing = True
        settled: asyncio.Future[None] = self._loop.create_future()
        if self._expected:
            self._expected.add(Echo(settled))
            self.send(_ECHO_REQ)
        else:
            settled.set_result(None)
        return settled

    # -- the wire -----------------------------------------------------------

    def greet(self) -> None:
        """Register the function, once."""
        self._callbacks.on_change(self)
        if self._client_id:
            self.send(encode(PacketType.SET_CLIENT_ID, self._client_id))
        self.send(encode(PacketType.CAN_DO, self._function))

    def ping(self) -> None:
        """Ask for a sign of life; it also marks a place in the order."""
        self._expected.add(Echo())
        self.send(_ECHO_REQ)

    def received(self, kind: PacketType, args: list[bytes]) -> None:
        """Take one packet of the server."""
        match kind:
            case PacketType.JOB_ASSIGN_UNIQ:
                self._assigned(args[0], args[2], args[3])
            case PacketType.JOB_ASSIGN:
                self._assigned(args[0], b"", args[2])
            case PacketType.NO_JOB:
                self._no_job()
            case PacketType.ECHO_RES:
                self._echoed()
            case PacketType.NOOP:
                self._woken()
            case PacketType.ERROR:
                self._refused(args)
            case _:
                raise ProtocolError(f"{kind.name} is not for a worker")

    def _send_about(
        self, job: Assignment, packet: bytes, on_answered: OnAnswered | None
    ) -> None:
        """Send the answer of a job in flight here, or its progress."""
        if job.completed:
            del self._jobs[job]
        if on_answered is None:
            self._expected.unmarked = True
            self.send(packet)
            return
        if self._expected.unmarked:
            self.ping()
        self.send(packet)
        self._expected.add(Answer(on_answered))
        self.ping()

    def _release_slot(self) -> None:
        guarded(self._slots.release)
        self._callbacks.on_change(self)

    def _assigned(self, handle: bytes, unique: bytes, payload: bytes) -> None:
        grab = self._expected.next(Grab, "JOB_ASSIGN_UNIQ")
        self.grabs -= 1
        if self._closing:
            # The connection ends soon, and the server hands the job on then.
            if grab.reserved:
                self._release_slot()
            return
        self._dry = False
        self._window = min(GRABS, self._window * 2)
        job = Assignment(
            self._address, self._send_about, handle, unique, payload
        )
        self._jobs[job] = None
        guarded(lambda: self._callbacks.on_job(job))
        self._callbacks.on_change(self)
        if self._window == _FIRST and self.grabs:
            # Most likely it was the only one. To say so before NO_JOB comes
            # spares the next job a round trip; if there are more, the GRABs
            # that follow take it back.
            self._sleep()

    def _sleep(self) -> None:
        """Be woken when there is something."""
        self._asleep = True
        self.send(_PRE_SLEEP)

    def _no_job(self) -> None:
        grab = self._expected.next(Grab, "NO_JOB")
        self.grabs -= 1
        self._dry = True
        self._window = 1
        self._doubt_later()
        if not (self.grabs or self._leaving or self._asleep):
            self._sleep()
        if grab.reserved:
            self._release_slot()

    def _echoed(self) -> None:
        self._expected.next(Echo, "ECHO_RES").answered()
        if not self.registered:
            # Not earlier: a GRAB that a silent server never answers would
            # hold a slot that the jobs of the others need.
            self.registered = True
            self._dry = False
            self._callbacks.on_registered()
            self._callbacks.on_change(self)

    def _doubt_later(self) -> None:
        """Ask again after a while, though nobody has woken us.

        gearmand wakes nobody for a job whose time has come, and with
        ``--worker-wakeup`` it may wake a worker that has no slot.
        """
        if self._doubt is not None:
            self._doubt.cancel()
        self._doubt = self._loop.call_later(
            self._options.heartbeat, self._woken
        )

    def _woken(self) -> None:
        if self.registered:
            self._asleep = self._dry = False
            self._callbacks.on_change(self)

    def _refused(self, args: list[bytes]) -> None:
        code, text = one_line(args[0]), one_line(args[1])
        log.info("Job server %s: ERROR %s: %s", self._address, code, text)
        self._expected.refuse()

    def ended(self, reason: str) -> None:
        """Nothing in flight can be answered any more."""
        if self._doubt is not None:
            self._doubt.cancel()
        self._asleep = False
        self._dry = True
        jobs, self._jobs = self._jobs, {}
        self.grabs = 0
        for job in jobs:
            job.lost = True
        for request in self._expected.lose():
            if isinstance(request, Echo):
                request.answered()
            elif request.reserved:
                self._release_slot()
        for job in jobs:
            if job.on_lost is not None:
                guarded(job.on_lost)
