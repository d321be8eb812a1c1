"""Queries to the job servers about jobs in their queues."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from dataclasses import replace

from poolmgr.errors import PoolmgrError, TransportError
from poolmgr.gearman import admin
from poolmgr.gearman.assignment import Assignment
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.ownership import Job

LOG = logging.getLogger(__name__)

#: The priority of most jobs, between high (0) and low (2).
_NORMAL = 1
#: Seconds to wait for an answer.  No query is important enough for more.
_TIMEOUT = 1.0
#: Except for this one: a wrong answer to "show jobs" can cost an address.
_SHOW_TIMEOUT = 5.0


class JobServerQueries:
    """Queries the job servers, over separate connections.

    A job server may close a connection on which it gets an unknown query.  If
    that were a worker's connection, its jobs would be lost.

    :param function: the function name of the jobs
    :param options: how to reach the job servers
    """

    def __init__(self, function: str, options: ConnectionOptions) -> None:
        self._function = function
        self._options = replace(options, connect_timeout=_TIMEOUT)
        self._clients: dict[Address, Client] = {}
        self._waiting: dict[Address, list[int]] = {}

    async def prepare(self, servers: Iterable[Address]) -> None:
        """Connect to the job servers, and ask how many jobs of each priority
        are queued.

        A job server hands out jobs of high priority first, but does not tell
        a job's priority, so :meth:`next_priority` counts.  If other workers
        take jobs meanwhile, some jobs get a higher priority than they have.
        """
        self._waiting.clear()
        await asyncio.gather(*map(self._prepare, servers))

    async def _prepare(self, server: Address) -> None:
        # Without an answer all its jobs count as normal.
        with contextlib.suppress(TransportError):
            if server not in self._clients:
                client = Client([server], self._options)
                # It stays connected for the next questions.
                self._clients[server] = await client.__aenter__()
            self._waiting[server] = await admin.waiting(
                server, self._function, self._options
            )

    def next_priority(self, server: Address) -> int:
        """Return the priority of the job that a server has just assigned."""
        waiting = self._waiting.get(server, [])
        for priority, count in enumerate(waiting):
            if count:
                waiting[priority] -= 1
                return priority
        return _NORMAL

    async def count_clients(self, job: Assignment) -> int | None:
        """Count the clients that wait for a job.

        :returns: 0 for a background job; None if the number is unknown
        """
        client = self._clients.get(job.server)
        if client is None:
            return None
        try:
            async with asyncio.timeout(_TIMEOUT):
                # A cut unique may be that of several jobs.
                unique = b"" if job.cut else job.raw_unique
                return await client.listeners(unique)
        except (TimeoutError, TransportError, ValueError):
            # Another look-up may have closed it already.
            if self._clients.get(job.server) is client:
                del self._clients[job.server]
                await client.__aexit__(None, None, None)
            return None

    async def delivered_before(self, job: Job) -> bool:
        """Return whether a job's server has lost a worker with the job.

        :returns: also False if it does not answer, or does not count retries
        """
        try:
            address = Address.parse(job.server)
            options = replace(self._options, connect_timeout=_SHOW_TIMEOUT)
            jobs = await admin.show_jobs(address, options)
        except PoolmgrError as error:
            LOG.info("cannot tell if a job was delivered before: %s", error)
            return False
        return jobs.get(job.handle, 0) > 0

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.__aexit__(None, None, None)
