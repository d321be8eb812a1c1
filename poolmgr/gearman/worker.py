"""A worker of many job servers, in one event loop."""

import asyncio
import logging
import random
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from poolmgr.errors import TransportError
from poolmgr.gearman.assignment import Assignment
from poolmgr.gearman.connection import Connection, connect
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.gearman.protocol import PacketType, ProtocolError, encode
from poolmgr.text import one_line

log = logging.getLogger(__name__)

CLOSE_TIMEOUT = 5.0
"""Seconds that closing waits for the job servers to take the answers."""

GRABS = 8
"""GRAB_JOB_UNIQ requests in flight on one connection, at most."""

STEADY = 3.0
"""Seconds after which a connection counts as good, and its loss as new."""

State = Literal["connecting", "up", "waiting"]


class Slots(Protocol):
    """Slots for jobs; called on the loop's thread."""

    def reserve(self) -> bool:
        """Reserve a slot for a job that may arrive; False if none is free."""

    def release(self) -> None:
        """Release a reserved slot, because no job arrived."""


class WorkerConnection:
    """A worker's connection to one job server, made again when it is lost.

    :ivar state: "up" is registered; "waiting" is before the next attempt
    :ivar since: when that began, in seconds since the epoch
    :ivar last_error: why it was last lost or not reached, None if never
    :ivar reconnects: attempts after the first
    :ivar grabs: GRAB requests in flight; a slot is reserved for each
    """

    _connection: Connection  # the last one that was made

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
        self._leaving = False
        self._window = 0  # how many GRABs there may be
        self._asleep = False
        self._jobs: set[Assignment] = set()
        # Of this outage; one that fails in turns must not fill the log.
        self._logged: deque[str] = deque(maxlen=8)

    async def run(self) -> None:
        """Serve until the worker leaves; a cancel cuts the connection."""
        self._task = asyncio.current_task()
        pause = self._options.retry_first
        while not self._leaving:
            reason = await self._serve()
            if self._leaving:
                return
            up = self.state == "up"
            if up and time.time() - self.since >= STEADY:
                pause = self._options.retry_first
            if reason not in self._logged:
                self._logged.append(reason)
                what = "lost" if up else "not reached"
                self._log(logging.WARNING, f"{what}: {reason}")
            self.last_error = reason
            self._enter("waiting")
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
            pause = min(2 * pause, self._options.retry_longest)
            self.reconnects += 1
            self._enter("connecting")

    async def _serve(self) -> str:
        """Connect and serve; return why the connection ended."""
        try:
            connection = await connect(
                self.address,
                self._options,
                self._worker.greeting,
                self._received,
            )
        except TransportError as error:
            return str(error)
        self._connection, gone = connection, connection.gone
        self._enter("up")
        self._logged.clear()
        self._log(logging.INFO, "connected and registered")
        try:
            while not gone.done():
                # gearmand wakes nobody for a job whose time has come, and
                # with --worker-wakeup it may wake a worker without a slot.
                self._look_for_jobs()
                # Not awaited itself: to cancel us must not end the future.
                await asyncio.wait([gone], timeout=self._options.heartbeat)
            return gone.result()
        finally:
            connection.drop("the worker was stopped")
            self._lose_jobs()

    @property
    def can_grab(self) -> bool:
        """Whether it can send a GRAB as soon as there is a slot."""
        ready = self.grabs < self._window and not self._leaving
        return ready and self.state == "up"

    def grab(self) -> None:
        """Ask for a job; its slot is already reserved."""
        self.grabs += 1
        self._asleep = False
        self._connection.send(PacketType.GRAB_JOB_UNIQ)

    def leave(self) -> None:
        """Grab no more, and do not connect again."""
        self._leaving = True
        if self.state == "up":
            # The server would wake a sleeping worker for the next job, and
            # wait for it. One last GRAB ends the sleep.
            if self._asleep and self._worker.slots.reserve():
                self.grab()
        elif self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Send all answers, wait until they are accepted, and disconnect."""
        self.leave()
        if self.state == "up":
            settled = self._connection.echo()
            await asyncio.wait([settled], timeout=CLOSE_TIMEOUT)
            await self._connection.close(1)

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
                self._look_for_jobs()
            case PacketType.ERROR:
                code, text = map(one_line, args)
                self._log(logging.INFO, f"ERROR {code}: {text}")
            case _:
                raise ProtocolError(f"unexpected {kind.name}")

    def _look_for_jobs(self) -> None:
        """The server has woken us: it may have jobs."""
        self._window = max(self._window, 1)
        self._worker.grab()

    def _assigned(self, handle: bytes, unique: bytes, payload: bytes) -> None:
        self._window = GRABS
        job = Assignment(
            self.address, self._connection, self._jobs, handle, unique, payload
        )
        self._jobs.add(job)
        self._worker.on_job(job)
        self._worker.grab()

    def _no_job(self) -> None:
        self._window = 0
        if not (self.grabs or self._leaving):
            # To be woken when there is something.
            self._asleep = True
            self._connection.send(PacketType.PRE_SLEEP)
        self._worker.slots.release()
        self._worker.grab()

    def _lose_jobs(self) -> None:
        """The connection is lost, and with it the jobs in flight."""
        jobs = list(self._jobs)
        self._jobs.clear()
        self._window, self._asleep = 0, False
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

    def _enter(self, state: State) -> None:
        self.state = state
        self.since = time.time()

    def _log(self, level: int, text: str) -> None:
        log.log(level, "Job server %s: %s", self.address, text)


class Worker:
    """Takes jobs of one function from all its job servers.

    Each server is served independently: none that is dead, silent, or slow to
    connect delays another. A slot is reserved before a job is asked for, so
    every job that arrives has one. Call all methods on the loop's thread.

    :param function: the name of the function, without blanks
    :param on_job: called with each job; must neither block nor raise
    :param slots: the slots for jobs
    :param client_id: how the job servers' ``workers`` list calls us; what is
        no letter or digit becomes a dash
    :ivar connections: in the order of the servers
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
        # Once for a connection: gearmand would count another worker.
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
        self._turns = list(self.connections)  # who is next to grab is first

    async def run(self) -> None:
        """Serve until :meth:`close`; if cancelled, connections are cut.

        :raises ExceptionGroup: of a defect: it must be seen, not leave a job
            server unserved
        """
        async with asyncio.TaskGroup() as group:
            for connection in self.connections:
                group.create_task(connection.run())

    def drain(self) -> None:
        """Take no more jobs; connections stay open for the answers.

        A job may still arrive for each GRAB in flight. A lost connection is
        not made again.
        """
        for connection in self.connections:
            connection.leave()

    async def close(self) -> None:
        """Send all answers, wait until they are accepted, and disconnect.

        It takes at most about :data:`CLOSE_TIMEOUT` seconds. Jobs that
        were not completed are lost: their servers deliver them again.
        """
        await asyncio.gather(*(each.close() for each in self.connections))

    def grab(self) -> None:
        """Ask for as many jobs as there are slots; call it when one is free.

        Servers take turns, so a busy one cannot take all the slots.
        """
        while ready := [each for each in self._turns if each.can_grab]:
            if not self.slots.reserve():
                return
            self._turns.remove(ready[0])
            self._turns.append(ready[0])
            ready[0].grab()
