"""A worker's link to one job server."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from poolmgr.gearman.address import Address
from poolmgr.gearman.assignment import Assignment, Delivery, OnDelivery
from poolmgr.gearman.link import Link
from poolmgr.gearman.options import LinkOptions
from poolmgr.gearman.protocol import PacketType, ProtocolError, encode
from poolmgr.text import one_line

log = logging.getLogger(__name__)

GRABS = 8
"""GRAB_JOB_UNIQ that may be on their way on one link."""

_FIRST = 2
"""The window after the first of several jobs."""

_GRAB_JOB = encode(PacketType.GRAB_JOB_UNIQ)
_PRE_SLEEP = encode(PacketType.PRE_SLEEP)
_ECHO_REQ = encode(PacketType.ECHO_REQ, b"")


class Hall(Protocol):
    """What a link asks of the worker it belongs to."""

    def connected(self, link: "ServingLink") -> None:
        """The link is there, until it is gone."""

    def wants(self, link: "ServingLink") -> None:
        """The link would like to grab."""

    def arrived(self, job: Assignment) -> None:
        """A job came."""

    def released(self) -> None:
        """The room of one GRAB is not needed."""


@dataclass(frozen=True)
class _Grab:
    """To be answered by NO_JOB or a job."""

    reserved: bool  # whether room was reserved for it


@dataclass(frozen=True)
class _Echo:
    """To be answered by ECHO_RES."""

    back: Callable[[], None] | None = None


@dataclass(frozen=True)
class _Answer:
    """Answered by nothing, or by an ERROR before what comes next."""

    on_delivery: OnDelivery


class ServingLink(Link):
    """Registers, grabs when it is told to, and sends answers.

    The server's responses come in the order of our requests, but an ERROR
    does not say which of them it is about. So what is expected is kept in
    order: an answer whose fate matters stands between two requests that
    are certainly answered; an ERROR between their responses is about it.

    :param on_registered: called when the server knows us and has given a
        sign of life
    :ivar grabs: how many GRABs are on their way
    :ivar errors: how many ERRORs the server has sent
    """

    # To end the link would have the job delivered again, for ever.
    cut = (PacketType.JOB_ASSIGN, PacketType.JOB_ASSIGN_UNIQ)

    def __init__(
        self,
        address: Address,
        function: bytes,
        client_id: bytes,
        hall: Hall,
        on_registered: Callable[[], None],
        options: LinkOptions,
    ) -> None:
        super().__init__(options)
        self.address = address
        self._function = function
        self._client_id = client_id
        self._hall = hall
        self._on_registered = on_registered
        self._expected: deque[_Grab | _Echo | _Answer] = deque()
        self._unmarked = False  # sent what may yield an ERROR not awaited
        self._jobs: dict[Assignment, None] = {}  # in flight, oldest first
        self._window = 1
        self._dry = True  # the server has nothing for us, as far as we know
        self._asleep = False
        self._doubt: asyncio.TimerHandle | None = None
        self._leaving = False
        self._closing = False
        self.registered = False
        self.grabs = 0
        self.errors = 0

    # -- taking jobs --------------------------------------------------------

    @property
    def hungry(self) -> bool:
        """Whether it would send a GRAB if there were room."""
        return self.grabs < self._window and not (
            self._dry or self._leaving or self.gone.done()
        )

    def grab(self, reserved: bool = True) -> None:
        """Ask for a job.

        :param reserved: whether there is room reserved for it
        """
        self.grabs += 1
        self._asleep = False
        self._expect(_Grab(reserved))
        self.send(_GRAB_JOB)

    def leave(self, last: Callable[[], bool]) -> None:
        """Grab no more.

        A server counts on a worker that sleeps. One last GRAB ends that,
        and it cannot be told beforehand whether it yields a job.

        :param last: tries to reserve room for that GRAB
        """
        self._leaving = True
        if self._asleep:
            self.grab(reserved=last())

    # -- answering: what an Assignment calls --------------------------------

    def answer(
        self, job: Assignment, answer: bytes, on_delivery: OnDelivery | None
    ) -> None:
        """Send the answer of a job in flight on this link."""
        del self._jobs[job]
        packet = encode(PacketType.WORK_COMPLETE, job.raw_handle, answer)
        if on_delivery is None:
            self._unmarked = True
            self.send(packet)
            return
        if self._unmarked:
            self.ping()
        self.send(packet)
        self._expect(_Answer(on_delivery))
        self.ping()

    def report(self, job: Assignment, done: int, of: int) -> None:
        """Send the progress of a job in flight on this link."""
        self._unmarked = True
        self.send(
            encode(
                PacketType.WORK_STATUS,
                job.raw_handle,
                b"%d" % done,
                b"%d" % of,
            )
        )

    def settle(self, settled: Callable[[], None]) -> None:
        """Call when all that was sent so far has been taken by the server.

        Jobs that still arrive are left to the server from now on.
        """
        self._leaving = self._closing = True
        if self._expected or self._unmarked:
            self._expect(_Echo(settled))
            self.send(_ECHO_REQ)
        else:
            settled()

    # -- the wire -----------------------------------------------------------

    def greet(self) -> None:
        """Register the function, once."""
        self._hall.connected(self)
        if self._client_id:
            self.send(encode(PacketType.SET_CLIENT_ID, self._client_id))
        self.send(encode(PacketType.CAN_DO, self._function))

    def ping(self) -> None:
        """Ask for a sign of life; it also marks a place in the order."""
        self._expect(_Echo())
        self.send(_ECHO_REQ)

    def received(self, kind: PacketType, args: list[bytes]) -> None:
        """Take one packet of the server."""
        if kind is PacketType.JOB_ASSIGN_UNIQ:
            self._assigned(args[0], args[2], args[3])
        elif kind is PacketType.JOB_ASSIGN:
            self._assigned(args[0], b"", args[2])
        elif kind is PacketType.NO_JOB:
            self._no_job()
        elif kind is PacketType.ECHO_RES:
            self._echoed()
        elif kind is PacketType.NOOP:
            self._woken()
        elif kind is PacketType.ERROR:
            self._refused(args)
        else:
            raise ProtocolError(f"{kind.name} is not for a worker")

    def _expect(self, what: _Grab | _Echo | _Answer) -> None:
        if not isinstance(what, _Answer):
            self._unmarked = False
        self._expected.append(what)

    def _next_expected(self, kind: PacketType) -> _Grab | _Echo:
        """What the response in hand answers.

        An answer before it had no ERROR, so it was taken.
        """
        while self._expected:
            what = self._expected.popleft()
            if not isinstance(what, _Answer):
                return what
            _tell(what.on_delivery, Delivery.DELIVERED)
        raise ProtocolError(f"{kind.name} out of turn")

    def _grabbed(self, kind: PacketType) -> _Grab:
        what = self._next_expected(kind)
        if not isinstance(what, _Grab):
            self._expected.appendleft(what)
            raise ProtocolError(f"{kind.name} out of turn")
        self.grabs -= 1
        return what

    def _assigned(self, handle: bytes, unique: bytes, payload: bytes) -> None:
        grab = self._grabbed(PacketType.JOB_ASSIGN_UNIQ)
        if self._closing:
            # The link ends in a moment, and the server hands it on then.
            if grab.reserved:
                self._hall.released()
            return
        self._dry = False
        self._window = min(GRABS, self._window * 2)
        job = Assignment(self, handle, unique, payload)
        self._jobs[job] = None
        self._hall.arrived(job)
        self._hall.wants(self)
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
        grab = self._grabbed(PacketType.NO_JOB)
        self._dry = True
        self._window = 1
        self._doubt_later()
        if not (self.grabs or self._leaving or self._asleep):
            self._sleep()
        if grab.reserved:
            self._hall.released()

    def _echoed(self) -> None:
        what = self._next_expected(PacketType.ECHO_RES)
        if not isinstance(what, _Echo):
            self._expected.appendleft(what)
            raise ProtocolError("ECHO_RES out of turn")
        if what.back is not None:
            what.back()
        if not self.registered:
            # Not earlier: a GRAB that a silent server never answers would
            # hold the room that jobs of the others need.
            self.registered = True
            self._dry = False
            self._on_registered()
            self._hall.wants(self)

    def _doubt_later(self) -> None:
        """Ask again after a while, though nobody has woken us.

        gearmand wakes nobody for a job whose time has come, and with
        ``--worker-wakeup`` it may wake a worker that has no room.
        """
        if self._doubt is not None:
            self._doubt.cancel()
        self._doubt = self._loop.call_later(
            self._options.heartbeat, self._woken
        )

    def _woken(self) -> None:
        if self.registered:
            self._asleep = self._dry = False
            self._hall.wants(self)

    def _refused(self, args: list[bytes]) -> None:
        self.errors += 1
        code, text = one_line(args[0]), one_line(args[1])
        log.info("Job server %s: ERROR %s: %s", self.address, code, text)
        first = self._expected[0] if self._expected else None
        if isinstance(first, _Answer):
            self._expected.popleft()
            _tell(first.on_delivery, Delivery.UNKNOWN)

    def ended(self, reason: str) -> None:
        """Nothing in flight can be answered any more."""
        if self._doubt is not None:
            self._doubt.cancel()
        self._asleep = False
        self._dry = True
        expected, self._expected = self._expected, deque()
        jobs, self._jobs = self._jobs, {}
        self.grabs = 0
        for job in jobs:
            job.lost = True
        for what in expected:
            if isinstance(what, _Answer):
                _tell(what.on_delivery, Delivery.LOST)
            elif isinstance(what, _Grab):
                if what.reserved:
                    self._hall.released()
            elif what.back is not None:
                what.back()
        for job in jobs:
            if job.on_lost is not None:
                guarded(job.on_lost)


def guarded(callback: Callable[[], None]) -> None:
    """Call what the owner gave us; its bugs must not end the link."""
    try:
        callback()
    except Exception:
        log.exception("A callback of the worker failed")


def _tell(on_delivery: OnDelivery, delivery: Delivery) -> None:
    guarded(lambda: on_delivery(delivery))
