"""What a worker asks the job servers about the jobs in their queues."""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import replace

from poolmgr.cloud.pace import time_limit
from poolmgr.errors import PoolmgrError, TransportError
from poolmgr.gearman import admin
from poolmgr.gearman.assignment import Assignment
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.tracing import RequestContext

#: The priority of most jobs, between high (0) and low (2).
_NORMAL = 1
#: Seconds that a job server has for each answer: to know is worth no more.
_TIMEOUT = 1.0


class JobServerQueries:
    """Asks the job servers, on connections of its own.

    A job server that does not know a question may close the connection, and
    a worker's connection would take its jobs along.

    :param function: the name of the jobs' function
    :param options: how to reach the job servers
    """

    def __init__(self, function: str, options: ConnectionOptions) -> None:
        self._function = function
        self._options = replace(options, connect_timeout=_TIMEOUT)
        self._clients: dict[Address, Client] = {}
        self._waiting: dict[Address, list[int]] = {}

    async def prepare(self, servers: Iterable[Address]) -> None:
        """Ask job servers how many jobs of each priority wait, and connect.

        A job server hands out jobs of high priority first and does not say
        which they are, so it is asked before.  If other workers take some of
        them meanwhile, some are taken for higher than they are.
        """
        self._waiting.clear()
        await asyncio.gather(*map(self._prepare, servers))

    async def _prepare(self, server: Address) -> None:
        # Of one that does not answer in time nothing is known, then.
        with contextlib.suppress(TransportError):
            if server not in self._clients:
                client = Client([server], self._options)
                self._clients[server] = await client.__aenter__()
            self._waiting[server] = await admin.waiting(
                server, self._function, self._options
            )

    def next_priority(self, server: Address) -> int:
        """The priority of the job that a server has just handed out."""
        waiting = self._waiting.get(server, [])
        for priority, count in enumerate(waiting):
            if count:
                waiting[priority] -= 1
                return priority
        return _NORMAL

    async def count_clients(self, job: Assignment) -> int | None:
        """How many clients wait for a job; None if that cannot be told.

        A job in background has none from the start.
        """
        client = self._clients.get(job.server)
        if client is None:
            return None
        try:
            async with time_limit(RequestContext(), _TIMEOUT, "asking"):
                unique = b"" if job.cut else job.raw_unique
                return await client.listeners(unique)
        except (PoolmgrError, ValueError):
            if self._clients.get(job.server) is client:
                del self._clients[job.server]
                await client.__aexit__(None, None, None)
            return None

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.__aexit__(None, None, None)
