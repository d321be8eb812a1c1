"""A worker of many job servers, in one event loop."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from poolmgr.errors import ConfigError
from poolmgr.gearman.address import Address
from poolmgr.gearman.assignment import Assignment
from poolmgr.gearman.options import ConnectionOptions
from poolmgr.gearman.reconnector import ConnectionStatus, Reconnector
from poolmgr.gearman.worker_connection import (
    Callbacks,
    Slots,
    WorkerConnection,
)
from poolmgr.text import one_line

CLOSE_TIMEOUT = 5.0
"""Seconds that closing waits for the job servers to take the answers."""


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
        self._function = _name("function", function)
        self._client_id = _name("client id", client_id)
        self._on_job = on_job
        self._slots = slots
        self._options = options or ConnectionOptions()
        self._reconnectors = [
            Reconnector(server, self._options, self._make_connection)
            for server in dict.fromkeys(servers)
        ]
        # Whoever is next to grab comes first.
        self._connections: dict[WorkerConnection, None] = {}
        self._draining = False
        self._closed = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    # -- for the owner ------------------------------------------------------

    async def run(self) -> None:
        """Serve until :meth:`close`; if cancelled, connections are cut.

        :raises Exception: a defect: it must be seen, not leave a job server
            unserved
        """
        tasks = [asyncio.create_task(r.run()) for r in self._reconnectors]
        closed = asyncio.create_task(self._closed.wait())
        waiting: set[asyncio.Task[Any]] = {closed, *tasks}
        try:
            while not closed.done():
                done, waiting = await asyncio.wait(
                    waiting, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    if not task.cancelled():
                        task.result()
        finally:
            for task in (*tasks, closed):
                task.cancel()
            for connection in list(self._connections):
                connection.drop("the worker was stopped")
            await asyncio.gather(*tasks, closed, return_exceptions=True)

    def drain(self) -> None:
        """Take no more jobs; connections stay for the answers of those at
        hand.

        A job may still arrive for each GRAB that is on its way, see
        :attr:`grabs_outstanding`. A connection that is lost stays so.
        """
        if self._draining:
            return
        self._draining = True
        for reconnector in self._reconnectors:
            reconnector.retire()
        for connection in list(self._connections):
            connection.leave()

    async def close(self) -> None:
        """Send what is to be sent, learn what became of it, and end.

        It takes at most about :data:`CLOSE_TIMEOUT` seconds. Jobs that
        were not completed are lost: their servers hand them on.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    def grab(self) -> None:
        """Ask for jobs as far as there are slots; to be called when one is
        free again.

        Each server has one GRAB in turn, so none that always has jobs can
        take all the slots.
        """
        while not self._draining:
            connection = next(
                (c for c in self._connections if c.can_grab), None
            )
            if connection is None or not self._slots.reserve():
                return
            # It comes last from now on.
            del self._connections[connection]
            self._connections[connection] = None
            connection.grab()

    @property
    def grabs_outstanding(self) -> int:
        """For how many GRABs a job may still arrive."""
        return sum(connection.grabs for connection in self._connections)

    @property
    def links(self) -> list[ConnectionStatus]:
        """How each connection is, in the order of the servers."""
        return [reconnector.status for reconnector in self._reconnectors]

    # -- inside -------------------------------------------------------------

    def _make_connection(self, reconnector: Reconnector) -> WorkerConnection:
        return WorkerConnection(
            reconnector.address,
            self._function,
            self._client_id,
            self._slots,
            Callbacks(self._on_job, reconnector.registered, self._changed),
            self._options,
        )

    def _changed(self, connection: WorkerConnection) -> None:
        if connection not in self._connections:
            self._connections[connection] = None
            connection.gone.add_done_callback(
                lambda _: self._connections.pop(connection, None)
            )
        self.grab()

    async def _close(self) -> None:
        self._draining = True
        for reconnector in self._reconnectors:
            reconnector.retire()
        connections = list(self._connections)
        settled = [each.settle() for each in connections if each.registered]
        if settled:
            await asyncio.wait(settled, timeout=CLOSE_TIMEOUT)
        connections = list(self._connections)
        for connection in connections:
            connection.close("the worker was closed")
        if connections:
            await asyncio.wait([c.gone for c in connections], timeout=1)
        self._closed.set()


def _name(what: str, name: str) -> bytes:
    if any(c.isspace() or not c.isprintable() for c in name):
        raise ConfigError(
            f"the {what} {one_line(name)!r} contains blanks or control"
            " characters"
        )
    return name.encode()
