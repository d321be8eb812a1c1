"""Looking at job servers again and again: what changed, who is down."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from poolmgr.errors import TransportError
from poolmgr.gearman import Address, ConnectionOptions, admin
from poolmgr.text import one_line


@dataclass(frozen=True)
class Seen:
    """One job server, as it was at a look.

    :ivar server: its address
    :ivar functions: what it told
    :ivar before: the jobs of its functions at the look before
    :ivar elapsed: seconds since then; 0 if there was none
    :ivar problem: why it told nothing; empty if it did
    :ivar down: seconds since when it tells nothing
    """

    server: Address
    functions: Sequence[admin.FunctionStatus] = ()
    before: Mapping[str, int] = field(default_factory=dict)
    elapsed: float = 0.0
    problem: str = ""
    down: float = 0.0

    def change(self, function: admin.FunctionStatus) -> float | None:
        """By how many jobs a second a function has grown; None if this is
        the first look."""
        if not self.elapsed:
            return None
        jobs = function.queued - self.before.get(function.name, 0)
        return jobs / self.elapsed


class Looks:
    """Looks at job servers, all at once.

    :param servers: which
    :param options: how to reach them
    :param timeout: seconds that one may take to answer
    """

    def __init__(
        self,
        servers: Sequence[Address],
        options: ConnectionOptions,
        timeout: float,
    ) -> None:
        self._servers = servers
        self._options = options
        self._timeout = timeout
        #: When each was looked at, and the jobs of its functions.
        self._before: dict[Address, tuple[float, Mapping[str, int]]] = {}
        self._down: dict[Address, float] = {}

    async def look(self) -> list[Seen]:
        """How they are now, in their order."""
        return await asyncio.gather(*map(self._look_at, self._servers))

    async def _look_at(self, server: Address) -> Seen:
        try:
            functions = await admin.status(
                server, self._options, self._timeout
            )
        except TransportError as error:
            self._before.pop(server, None)
            now = time.monotonic()
            down = now - self._down.setdefault(server, now)
            problem = str(error).removeprefix(f"job server {server}: ")
            return Seen(server, problem=one_line(problem), down=down)
        self._down.pop(server, None)
        now = time.monotonic()
        at, jobs = self._before.get(server, (now, {}))
        self._before[server] = now, {f.name: f.queued for f in functions}
        functions.sort(key=lambda function: function.name)
        return Seen(server, functions, jobs, now - at)
