"""Whether anybody still waits for a job's answer."""

import asyncio
import contextlib

from poolmgr.errors import TransportError
from poolmgr.gearman import Address, Assignment, Client, LinkOptions

#: Seconds that a job server has to answer.
_PATIENCE = 2.0


class Audience:
    """Asks the job servers who waits for jobs that they have given to us.

    On connections of its own: a job server that does not know the question
    may close the connection, and a worker's link would take its jobs along.

    :param options: how to reach the job servers
    """

    def __init__(self, options: LinkOptions) -> None:
        self._options = options
        self._clients: dict[Address, asyncio.Task[Client]] = {}

    async def count(self, job: Assignment) -> int | None:
        """How many clients wait; None if that cannot be told.

        A job in background has none from the start.
        """
        unique = b"" if job.cut else job.raw_unique
        try:
            async with asyncio.timeout(_PATIENCE):
                client = await asyncio.shield(self._client(job.server))
                return await client.listeners(unique)
        except (TransportError, ValueError, TimeoutError):
            await self._forget(job.server)
            return None

    async def close(self) -> None:
        """Close the connections."""
        for server in list(self._clients):
            await self._forget(server)

    def _client(self, server: Address) -> asyncio.Task[Client]:
        if server not in self._clients:
            connecting = Client([server], self._options).__aenter__()
            self._clients[server] = asyncio.create_task(connecting)
        return self._clients[server]

    async def _forget(self, server: Address) -> None:
        task = self._clients.pop(server, None)
        if task is None:
            return
        task.cancel()
        with contextlib.suppress(TransportError, asyncio.CancelledError):
            await (await task).__aexit__(None, None, None)
