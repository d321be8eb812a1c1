"""Looking at job servers again and again: what changed, who is down."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from poolmgr.errors import TransportError
from poolmgr.gearman import Address, LinkOptions, admin
from poolmgr.text import one_line


@dataclass(frozen=True)
class Function:
    """One function of a job server.

    :ivar name: its name
    :ivar waiting: jobs that no worker has
    :ivar running: jobs that one has
    :ivar workers: who could run them
    :ivar change: by how many jobs a second it has grown since the last look;
        None at the first
    """

    name: str
    waiting: int
    running: int
    workers: int
    change: float | None


@dataclass(frozen=True)
class Seen:
    """One job server, as it was at a look.

    :ivar server: its address
    :ivar functions: what it told
    :ivar problem: why it told nothing; empty if it did
    :ivar down: seconds since when it tells nothing
    """

    server: str
    functions: Sequence[Function] = ()
    problem: str = ""
    down: float = 0.0


class Looks:
    """Looks at job servers, all at once.

    :param servers: which
    :param options: how to reach them
    :param patience: seconds that one may take to answer
    """

    def __init__(
        self,
        servers: Sequence[Address],
        options: LinkOptions,
        patience: float,
    ) -> None:
        self._servers = servers
        self._options = options
        self._patience = patience
        #: When each was looked at, and the jobs of its functions.
        self._before: dict[Address, tuple[float, Mapping[str, int]]] = {}
        self._down: dict[Address, float] = {}

    async def look(self) -> list[Seen]:
        """How they are now, in their order."""
        return await asyncio.gather(*map(self._look_at, self._servers))

    async def _look_at(self, server: Address) -> Seen:
        try:
            told = await admin.status(server, self._options, self._patience)
        except TransportError as error:
            self._before.pop(server, None)
            since = self._down.setdefault(server, time.monotonic())
            problem = str(error).removeprefix(f"job server {server}: ")
            down = time.monotonic() - since
            return Seen(str(server), (), one_line(problem), down)
        self._down.pop(server, None)
        now = time.monotonic()
        at, jobs = self._before.get(server, (now, {}))
        self._before[server] = now, {each.name: each.queued for each in told}

        def change(each: admin.FunctionStatus) -> float | None:
            if now == at:
                return None
            return (each.queued - jobs.get(each.name, 0)) / (now - at)

        functions = [
            Function(
                one_line(each.name),
                each.queued - each.running,
                each.running,
                each.workers,
                change(each),
            )
            for each in told
        ]
        return Seen(str(server), sorted(functions, key=lambda f: f.name))
