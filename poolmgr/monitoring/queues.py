"""The queues of the job servers."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from poolmgr.errors import TransportError
from poolmgr.gearman import Address, ConnectionOptions, admin
from poolmgr.gearman.admin import FunctionStatus

#: Seconds for which an answer is used: job servers are asked no more often,
#: however often Prometheus asks.
MAX_AGE = 10.0
#: Seconds that a job server has for its answer.
TIMEOUT = 2.0


@dataclass
class Queues:
    """Asks the job servers for their queues; from any thread.

    :ivar servers: the job servers
    :ivar options: how to reach them
    :ivar function: the name of our function
    :ivar asked_at: when they were asked last, in monotonic seconds
    :ivar known: what they answered
    """

    servers: Sequence[Address]
    options: ConnectionOptions
    function: str
    asked_at: float = -math.inf
    known: dict[str, FunctionStatus | None] = field(default_factory=dict)

    def read(self) -> dict[str, FunctionStatus | None]:
        """The queue of each server, None if it did not answer."""
        now = time.monotonic()
        if now - self.asked_at >= MAX_AGE:
            # Whoever comes meanwhile gets the answers before these.
            self.asked_at = now
            self.known = asyncio.run(self._ask_all())
        return self.known

    async def _ask_all(self) -> dict[str, FunctionStatus | None]:
        found = await asyncio.gather(*map(self._ask, self.servers))
        return dict(zip(map(str, self.servers), found, strict=True))

    async def _ask(self, server: Address) -> FunctionStatus | None:
        try:
            functions = await admin.status(server, self.options, TIMEOUT)
        except TransportError:
            return None
        ours = (each for each in functions if each.name == self.function)
        return next(ours, FunctionStatus(self.function, 0, 0, 0))
