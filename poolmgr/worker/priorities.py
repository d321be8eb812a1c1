"""What priority a job has that a job server hands out."""

import asyncio
from collections.abc import Iterable

from poolmgr.errors import TransportError
from poolmgr.gearman import Address, LinkOptions, admin

HIGH, NORMAL, LOW = range(3)

#: Seconds that a job server has to answer.
_PATIENCE = 2.0


class Priorities:
    """Tells the priorities of jobs that come from a queue.

    A job server hands out jobs of high priority first and does not say which
    they are. So it is asked beforehand how many of each wait. Other workers
    may take some of them meanwhile: then some are taken for higher than they
    are.

    :param function: the name of the jobs' function
    :param options: how to reach the job servers
    """

    def __init__(self, function: str, options: LinkOptions) -> None:
        self._function = function
        self._options = options
        self._waiting: dict[Address, list[int]] = {}
        self._asking: dict[Address, asyncio.Task[None]] = {}

    async def look(self, servers: Iterable[Address], seconds: float) -> None:
        """Ask these job servers what waits, and wait so long for answers."""
        for server in servers:
            if server not in self._asking:
                self._waiting.pop(server, None)
                task = asyncio.create_task(self._ask(server))
                self._asking[server] = task
        if self._asking:
            await asyncio.wait(self._asking.values(), timeout=seconds)

    def next(self, server: Address) -> int:
        """The priority of the job that the server has just handed out."""
        waiting = self._waiting.get(server, [])
        for level, count in enumerate(waiting):
            if count:
                waiting[level] -= 1
                return level
        return NORMAL

    async def _ask(self, server: Address) -> None:
        try:
            self._waiting[server] = await admin.waiting(
                server, self._function, self._options, _PATIENCE
            )
        except TransportError:
            pass  # jobs of this one have no priority, then
        finally:
            del self._asking[server]
