"""A worker that takes jobs from several job servers, in one event loop."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Literal, Protocol

from poolmgr.errors import TransportError
from poolmgr.gearman.assignment import Assignment
from poolmgr.gearman.connection import Connection, connect
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.gearman.protocol import PacketType, ProtocolError, encode
from poolmgr.text import one_line

log = logging.getLogger(__name__)

#: Seconds that closing waits for job servers to accept the last answers.
CLOSE_TIMEOUT = 5.0

#: Most GRAB_JOB_UNIQ requests in flight on a connection. With only one, each
#: job costs a round trip, and a worker takes a fifth of the jobs a second.
GRABS = 8

#: Seconds after which a connection counts as stable: if it is lost then, the
#: waits between attempts start with the shortest.
STEADY = 3.0

ConnectionState = Literal["connecting", "up", "waiting"]


class Slots(Protocol):
    """Slots for jobs; called on the loop's thread."""

    def reserve(self) -> bool:
        """Reserve a slot for a job that may arrive; False if none is free."""

    def release(self) -> None:
        """Release a reserved slot, because no job arrived."""


class WorkerConnection:
    """A worker's connection to a job server; it reconnects when it is lost.

    :ivar state: "up" is registered; "waiting" is before the next attempt
    :ivar since: the time when the state began, in seconds since the epoch
    :ivar last_error: why it was last lost or not established, or None
    :ivar reconnects: number of attempts after the first
    :ivar grabs: GRAB_JOB_UNIQ requests in flight; each has reserved a slot
    """

    _connection: Connection  # the last one

    def __init__(
        self, worker: "Worker", address: Address, options: ConnectionOptions
    ) -> None:
        self.address = address
        self.last_error: str | None = None
        self.reconnects = 0
        self.grabs = 0
        self._enter("connecting")
        self._worker = worker
        self._options = options
        self._task: asyncio.Task[None] | None = None
        self._draining = False
        self._max_grabs = 0  # now: 0 if the queue is empty
        self._asleep = False
        self._jobs: set[Assignment] = set()
        # The errors of this outage that were logged; each is logged once.
        self._logged: set[str] = set()

    async def run(self) -> None:
        """Serve until the worker leaves; a cancel drops the connection."""
        self._task = asyncio.current_task()
        pause = self._options.retry_first
        while not self._draining:
            reason = await self._serve()
            was_up = self.state == "up"
            if was_up and time.time() - self.since >= STEADY:
                pause = self._options.retry_first
            self.last_error = reason
            self._enter("waiting")
            if self._draining:
                return
            if reason not in self._logged:
                self._logged.add(reason)
                what = "lost" if was_up else "not reached"
                self._log(logging.WARNING, f"{what}: {reason}")
            # So that not all workers return at the same moment.
            await asyncio.sleep(pause * SystemRandom().uniform(0.5, 1))
            pause = min(2 * pause, self._options.retry_longest)
            self.reconnects += 1
            self._enter("connecting")

    async def _serve(self) -> str:
        """Connect and serve; return why the connection ended."""
        try:
            self._connection = await connect(
                self.address,
                self._options,
                self._worker.greeting,
                self._received,
            )
        except TransportError as error:
            return str(error)
        gone = self._connection.gone
        self._enter("up")
        self._logged.clear()
        self._log(logging.INFO, "connected and registered")
        try:
            while not gone.done():
                # Grab now and then: gearmand wakes no worker when the time of
                # a delayed job has come, and with --worker-wakeup it may have
                # woken one without a free slot.
                self._wake_up()
                # wait() does not cancel the future if this task is cancelled.
                await asyncio.wait([gone], timeout=self._options.heartbeat)
            return gone.result()
        finally:
            self._connection.drop("the worker was stopped")
            self._lose_jobs()

    @property
    def can_grab(self) -> bool:
        """Whether it can send a GRAB_JOB_UNIQ if there is a slot."""
        ready = self.grabs < self._max_grabs and not self._draining
        return ready and self.state == "up"

    def grab(self) -> None:
        """Ask for a job; its slot must be reserved."""
        self.grabs += 1
        self._asleep = False
        self._connection.send(PacketType.GRAB_JOB_UNIQ)

    def drain(self) -> None:
        """Stop asking for jobs, and do not reconnect."""
        self._draining = True
        if self.state == "up":
            # A job server would wake a sleeping worker for the next job and
            # wait for it. A last GRAB_JOB_UNIQ ends the sleep.
            if self._asleep and self._worker.slots.reserve():
                self.grab()
        elif self._task is not None:
            # It ends alone: a cancelled task does not end its TaskGroup.
            self._task.cancel()

    async def close(self) -> None:
        """Send all answers, wait until they are accepted, and disconnect."""
        self.drain()
        if self.state == "up":
            accepted = self._connection.echo()
            await asyncio.wait([accepted], timeout=CLOSE_TIMEOUT)
            self._connection.drop("the connection was closed")

    def _received(self, kind: PacketType, args: list[bytes]) -> None:
        match kind:
            case PacketType.JOB_ASSIGN_UNIQ | PacketType.NO_JOB if self.grabs:
                self.grabs -= 1
                if kind is PacketType.NO_JOB:
                    self._no_job()
                else:
                    self._assigned(args[0], args[2], args[3])
            case PacketType.NOOP:
                self._asleep = False
                self._wake_up()
            case PacketType.ERROR:
                code, text = map(one_line, args)
                self._log(logging.INFO, f"ERROR {code}: {text}")
            case _:
                raise ProtocolError(f"unexpected {kind.name}")

    def _wake_up(self) -> None:
        """Ask for a job, because there may be one."""
        self._max_grabs = max(self._max_grabs, 1)
        self._worker.grab()

    def _assigned(self, handle: bytes, unique: bytes, payload: bytes) -> None:
        self._max_grabs = GRABS
        job = Assignment(
            self.address, self._connection, self._jobs, handle, unique, payload
        )
        self._jobs.add(job)
        self._worker.on_job(job)
        self._worker.grab()

    def _no_job(self) -> None:
        self._max_grabs = 0
        if not (self.grabs or self._draining):
            # After the last request, because each one ends the sleep.
            self._asleep = True
            self._connection.send(PacketType.PRE_SLEEP)
        self._worker.slots.release()
        self._worker.grab()

    def _lose_jobs(self) -> None:
        """Forget the jobs in flight and the requests for jobs."""
        jobs = list(self._jobs)
        self._jobs.clear()
        self._max_grabs, self._asleep = 0, False
        if jobs:
            self._log(
                logging.WARNING,
                f"{len(jobs)} jobs were lost with the connection; it "
                "delivers them again if it still has them",
            )
        while self.grabs:
            self.grabs -= 1
            self._worker.slots.release()
        for job in jobs:
            if job.on_lost is not None:
                job.on_lost()
        self._worker.grab()

    def _enter(self, state: ConnectionState) -> None:
        self.state = state
        self.since = time.time()

    def _log(self, level: int, text: str) -> None:
        log.log(level, "Job server %s: %s", self.address, text)


class Worker:
    """Takes jobs of one function from several job servers.

    Each job server has its own connection and delays no other. A slot is
    reserved before a job is requested, so each job that arrives has one. Call
    all methods on the loop's thread.

    :param function: the name of the function, without blanks
    :param on_job: called with each job; must neither block nor raise
    :param slots: the slots for jobs
    :param client_id: our name in the job servers' ``workers`` list;
        characters other than letters, digits and ``_.-`` become dashes
    :ivar connections: one for each job server, in the same order
    """

    def __init__(
        self,
        servers: Sequence[Address],
        function: str,
        on_job: Callable[[Assignment], None],
        slots: Slots,
        options: ConnectionOptions | None = None,
        client_id: str = "",
    ) -> None:
        client_id = re.sub(r"[^\w.-]+", "-", client_id)
        # CAN_DO is sent once: gearmand would count another worker.
        self.greeting = (
            encode(PacketType.SET_CLIENT_ID, client_id.encode())
            + encode(PacketType.CAN_DO, function.encode())
            + encode(PacketType.ECHO_REQ, b"")
        )
        self.on_job = on_job
        self.slots = slots
        self.connections = [
            WorkerConnection(self, server, options or ConnectionOptions())
            for server in dict.fromkeys(servers)
        ]
        self._turns = list(self.connections)  # the next to grab is first

    async def run(self) -> None:
        """Serve until :meth:`close`; a cancel drops the connections.

        :raises ExceptionGroup: a defect; serving ends, so that it is noticed
        """
        async with asyncio.TaskGroup() as group:
            for connection in self.connections:
                group.create_task(connection.run())

    def drain(self) -> None:
        """Take no more jobs; connections stay open for the answers.

        Jobs that were already requested may still arrive. A lost connection
        is not made again.
        """
        for connection in self.connections:
            connection.drain()

    async def close(self) -> None:
        """Send all answers, wait until they are accepted, and disconnect.

        It takes about five seconds at most. Unanswered jobs are lost: their
        job servers deliver them again.
        """
        await asyncio.gather(*(each.close() for each in self.connections))

    def grab(self) -> None:
        """Request jobs for all free slots; call it when a slot becomes free.

        Job servers take turns, so a busy one cannot take all slots.
        """
        while ready := [each for each in self._turns if each.can_grab]:
            if not self.slots.reserve():
                return
            self._turns.remove(ready[0])
            self._turns.append(ready[0])
            ready[0].grab()
