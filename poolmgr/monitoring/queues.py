"""How many jobs wait at the job servers."""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from poolmgr.errors import TransportError
from poolmgr.gearman import Address, LinkOptions, admin

#: Seconds that an answer is good for: however often it is wanted, the job
#: servers are not asked more often.
FRESH = 10.0
#: Seconds that a job server has for its answer.
PATIENCE = 2.0


@dataclass(frozen=True)
class Queue:
    """The jobs of our function at a job server.

    :ivar waiting: those that no worker has
    :ivar running: those that a worker has, the ones that it holds included
    :ivar workers: how many could run them
    """

    waiting: int
    running: int
    workers: int


class Queues:
    """Asks the job servers when somebody wants to know, and not too often.

    :param servers: the job servers
    :param options: how to reach them
    :param function: the name of our function
    """

    def __init__(
        self,
        servers: Sequence[Address],
        options: LinkOptions,
        function: str,
    ) -> None:
        self._servers = servers
        self._options = options
        self._function = function
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._known: dict[str, Queue | None] = {}

    def read(self) -> dict[str, Queue | None]:
        """The queue of each server, None of one that could not be asked."""
        # Who comes while it is asked gets the same answer.
        with self._lock:
            now = time.monotonic()
            if self._asked_at is None or now - self._asked_at >= FRESH:
                self._known = asyncio.run(self._ask_all())
                self._asked_at = time.monotonic()
            return self._known

    async def _ask_all(self) -> dict[str, Queue | None]:
        found = await asyncio.gather(*map(self._ask, self._servers))
        return dict(zip(map(str, self._servers), found, strict=True))

    async def _ask(self, server: Address) -> Queue | None:
        try:
            functions = await admin.status(server, self._options, PATIENCE)
        except TransportError:
            return None
        for each in functions:
            if each.name == self._function:
                waiting = max(0, each.queued - each.running)
                return Queue(waiting, each.running, each.workers)
        return Queue(0, 0, 0)
