"""The queues of the job servers."""

import asyncio
import time
from collections.abc import Sequence

from poolmgr.errors import TransportError
from poolmgr.gearman import Address, ConnectionOptions, admin
from poolmgr.gearman.admin import FunctionStatus

#: Seconds for which an answer is used: job servers are asked no more often,
#: however often Prometheus asks.
MAX_AGE = 10.0
#: Seconds that a job server has for its answer.
TIMEOUT = 2.0


class Queues:
    """Asks the job servers for their queues; from any thread.

    :param servers: the job servers
    :param options: how to reach them
    :param function: the name of our function
    """

    def __init__(
        self,
        servers: Sequence[Address],
        options: ConnectionOptions,
        function: str,
    ) -> None:
        self._servers = servers
        self._options = options
        self._function = function
        self._asked_at = float("-inf")
        self._known: dict[str, FunctionStatus | None] = {}

    def read(self) -> dict[str, FunctionStatus | None]:
        """The queue of each server, None if it did not answer."""
        now = time.monotonic()
        if now - self._asked_at >= MAX_AGE:
            # Whoever comes meanwhile gets the answers before these.
            self._asked_at = now
            self._known = asyncio.run(self._ask_all())
        return self._known

    async def _ask_all(self) -> dict[str, FunctionStatus | None]:
        found = await asyncio.gather(*map(self._ask, self._servers))
        return dict(zip(map(str, self._servers), found, strict=True))

    async def _ask(self, server: Address) -> FunctionStatus | None:
        try:
            functions = await admin.status(server, self._options, TIMEOUT)
        except TransportError:
            return None
        ours = (each for each in functions if each.name == self._function)
        return next(ours, FunctionStatus(self._function, 0, 0, 0))
