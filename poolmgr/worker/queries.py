"""What a worker asks the job servers about the jobs in their queues."""

import asyncio
import contextlib
from collections.abc import Collection

from poolmgr.errors import TransportError
from poolmgr.gearman import (
    Address,
    Assignment,
    Client,
    ConnectionOptions,
    admin,
)

#: The priority of most jobs, between high (0) and low (2).
_NORMAL = 1
#: Seconds that a job server has to tell how many clients a job has.
_TIMEOUT = 2.0
#: The same for how many jobs wait: to know is worth no more.
_PRIORITIES_TIMEOUT = 0.5


class JobServerQueries:
    """Asks the job servers, on connections of its own.

    A job server that does not know a question may close the connection, and
    a worker's connection would take its jobs along.

    :param function: the name of the jobs' function
    :param options: how to reach the job servers
    """

    def __init__(self, function: str, options: ConnectionOptions) -> None:
        self._function = function
        self._options = options
        self._clients: dict[Address, asyncio.Task[Client]] = {}
        self._waiting: dict[Address, list[int]] = {}

    async def read_priorities(self, servers: Collection[Address]) -> None:
        """Ask job servers how many jobs of each priority wait.

        A job server hands out jobs of high priority first and does not say
        which they are, so it is asked before.  If other workers take some of
        them meanwhile, some are taken for higher than they are.
        """
        found = await asyncio.gather(*map(self._read, servers))
        self._waiting = dict(zip(servers, found, strict=True))

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
        unique = b"" if job.cut else job.raw_unique
        try:
            async with asyncio.timeout(_TIMEOUT) as limit:
                client = await asyncio.shield(self._client(job.server))
                return await client.listeners(unique)
        except TimeoutError:
            if not limit.expired():
                raise
        except (TransportError, ValueError):
            pass
        await self._disconnect(job.server)
        return None

    async def close(self) -> None:
        """Close the connections."""
        for server in list(self._clients):
            await self._disconnect(server)

    async def _read(self, server: Address) -> list[int]:
        try:
            return await admin.waiting(
                server, self._function, self._options, _PRIORITIES_TIMEOUT
            )
        except TransportError:
            return []  # jobs of this one have no priority, then

    def _client(self, server: Address) -> asyncio.Task[Client]:
        if server not in self._clients:
            connecting = Client([server], self._options).__aenter__()
            self._clients[server] = asyncio.create_task(connecting)
        return self._clients[server]

    async def _disconnect(self, server: Address) -> None:
        task = self._clients.pop(server, None)
        if task is None:
            return
        task.cancel()
        with contextlib.suppress(TransportError, asyncio.CancelledError):
            await (await task).__aexit__(None, None, None)
