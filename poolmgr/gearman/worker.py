"""A worker of many job servers, in one event loop."""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from poolmgr.errors import ConfigError, TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.connection import ConnectionOptions, connect
from poolmgr.gearman.jobs import Assignment
from poolmgr.gearman.worker_connection import (
    Owner,
    Slots,
    WorkerConnection,
)
from poolmgr.text import one_line

log = logging.getLogger(__name__)

CLOSE_TIMEOUT = 5.0
"""Seconds that closing waits for the job servers to take the answers."""


STEADY = 3.0
"""Seconds after which a connection counts as good, and its loss as a new
one."""

REASONS = 8
"""How many of the last reasons are not logged again."""


State = Literal["connecting", "up", "waiting"]


@dataclass(frozen=True)
class ConnectionStatus:
    """How a worker's connection to one job server is, at the moment.

    :ivar state: "up" is registered; "waiting" is before the next attempt
    :ivar since: when that began, in seconds since the epoch
    :ivar last_error: why it was last lost or not reached, None if never
    :ivar reconnects: attempts after the first
    """

    address: Address
    state: State
    since: float
    last_error: str | None = None
    reconnects: int = 0


class Reconnector:
    """Keeps a worker connected to one job server: connects, and again.

    :ivar status: how the connection is at the moment
    :ivar connection: the present one, once the server has answered
    """

    def __init__(
        self, address: Address, owner: Owner, options: ConnectionOptions
    ) -> None:
        self.status = ConnectionStatus(address, "connecting", time.time())
        self.connection: WorkerConnection | None = None
        self._owner = owner
        self._options = options
        self._task: asyncio.Task[None] | None = None
        self._retired = False
        # Of this outage; one that fails in turns must not fill the log.
        self._logged: deque[str] = deque(maxlen=REASONS)

    async def run(self) -> None:
        """Serve until retired."""
        self._task = asyncio.current_task()
        failures = 0
        while not self._retired:
            began = asyncio.get_running_loop().time()
            what, reason = await self._serve()
            lasted = asyncio.get_running_loop().time() - began
            steady = what == "lost" and lasted >= STEADY
            failures = 1 if steady else failures + 1
            if not self._retired:
                self._failed(what, reason)
                await asyncio.sleep(_delay(failures, self._options))
                attempts = self.status.reconnects + 1
                self._change("connecting", reconnects=attempts)

    def retire(self) -> None:
        """Never connect again; a present connection stays."""
        self._retired = True
        if self.connection is None and self._task is not None:
            self._task.cancel()

    async def _serve(self) -> tuple[str, str]:
        """Connect and stay; how and why that came to an end."""
        address = self.status.address
        try:
            connection = await connect(
                address,
                self._options,
                partial(WorkerConnection, address, self._owner, self._options),
            )
        except TransportError as error:
            return "not reached", str(error)
        self._change("up")
        self._logged.clear()
        log.info("Job server %s: connected and registered", address)
        self.connection = connection
        try:
            connection.look_for_jobs()
            # Not awaited itself: to cancel us must not end the future.
            await asyncio.wait([connection.gone])
            return "lost", connection.gone.result()
        finally:
            self.connection = None
            connection.drop("the worker was stopped")

    def _change(self, state: State, **changes: Any) -> None:
        self.status = replace(
            self.status, state=state, since=time.time(), **changes
        )

    def _failed(self, what: str, reason: str) -> None:
        self._change("waiting", last_error=reason)
        if reason not in self._logged:
            self._logged.append(reason)
            address = self.status.address
            log.warning("Job server %s: %s: %s", address, what, reason)


def _delay(failures: int, options: ConnectionOptions) -> float:
    """Seconds to wait before the next attempt, with jitter.

    :param failures: attempts in a row that came to nothing, from 1 up
    """
    # The exponent is bounded: 2.0 ** 1024 overflows after some days.
    doubled = options.retry_first * 2.0 ** min(failures - 1, 60)
    longest = min(options.retry_longest, doubled)
    return longest * random.uniform(0.5, 1)  # noqa: S311


class Worker:
    """Takes jobs of one function from all its job servers.

    Every server is served by itself: none that is dead, silent, or slow to
    connect holds up another. A slot is reserved before a job is asked for,
    so no job lies about waiting for one. All methods belong to the loop's
    thread.

    :param function: the name of the function
    :param on_job: called with each job; must neither block nor raise
    :param slots: how many jobs may come
    :param client_id: how the job servers' ``workers`` list calls us
    :raises ConfigError: no server, or a name that the protocol cannot carry
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
        if not servers:
            raise ConfigError("no job server is given")
        if not function:
            raise ConfigError("the function has no name")
        self.function = _encoded("function", function)
        self.client_id = _encoded("client id", client_id)
        self.on_job = on_job
        self.slots = slots
        self._reconnectors = tuple(
            Reconnector(server, self, options or ConnectionOptions())
            for server in dict.fromkeys(servers)
        )
        self._turns = list(self._reconnectors)  # who is next to grab is first

    async def run(self) -> None:
        """Serve until :meth:`close`; if cancelled, connections are cut.

        :raises ExceptionGroup: of a defect: it must be seen, not leave a job
            server unserved
        """
        async with asyncio.TaskGroup() as group:
            for reconnector in self._reconnectors:
                group.create_task(reconnector.run())

    def drain(self) -> None:
        """Take no more jobs; connections stay for the answers of those at
        hand.

        A job may still arrive for each GRAB that is on its way, see
        :attr:`grabs_outstanding`. A connection that is lost stays so.
        """
        self._retire()
        for connection in self._connections:
            connection.leave()

    async def close(self) -> None:
        """Send what is to be sent, learn what became of it, and end.

        It takes at most about :data:`CLOSE_TIMEOUT` seconds. Jobs that
        were not completed are lost: their servers hand them on.
        """
        self._retire()
        await asyncio.gather(
            *(each.finish(CLOSE_TIMEOUT) for each in self._connections)
        )

    def grab(self) -> None:
        """Ask for jobs as far as there are slots; to be called when one is
        free again.

        Each server has one GRAB in turn, so none that always has jobs can
        take all the slots.
        """
        while True:
            for reconnector in self._turns:
                connection = reconnector.connection
                if connection is not None and connection.can_grab:
                    break
            else:
                return
            if not self.slots.reserve():
                return
            self._turns.remove(reconnector)
            self._turns.append(reconnector)
            connection.grab()

    @property
    def grabs_outstanding(self) -> int:
        """For how many GRABs a job may still arrive."""
        return sum(connection.grabs for connection in self._connections)

    @property
    def links(self) -> list[ConnectionStatus]:
        """How each connection is, in the order of the servers."""
        return [reconnector.status for reconnector in self._reconnectors]

    def _retire(self) -> None:
        for reconnector in self._reconnectors:
            reconnector.retire()

    @property
    def _connections(self) -> list[WorkerConnection]:
        present = [each.connection for each in self._reconnectors]
        return [each for each in present if each is not None]


def _encoded(what: str, name: str) -> bytes:
    if any(c.isspace() or not c.isprintable() for c in name):
        raise ConfigError(
            f"the {what} {one_line(name)!r} contains blanks or control"
            " characters"
        )
    return name.encode()
