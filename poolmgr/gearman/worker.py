"""A worker of many job servers, in one thread."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from poolmgr.errors import ConfigError
from poolmgr.gearman.address import Address
from poolmgr.gearman.assignment import Assignment
from poolmgr.gearman.options import LinkOptions
from poolmgr.gearman.serving import ServingLink, guarded
from poolmgr.gearman.station import LinkStatus, Station
from poolmgr.text import one_line

log = logging.getLogger(__name__)

CLOSE_PATIENCE = 5.0
"""Seconds that closing waits for the job servers to take the answers."""


class Room(Protocol):
    """Where the jobs go; both are called in the loop's thread."""

    def reserve(self) -> bool:
        """Take room for one job that may arrive; False if there is none."""

    def release(self) -> None:
        """Give back room that was reserved: no job came."""


class Worker:
    """Takes jobs of one function from all its job servers.

    Every server is served by itself: none that is dead, silent, or slow to
    connect holds up another. Room is reserved before a job is asked for, so
    no job lies about waiting for it. All methods belong to the loop's
    thread.

    :param function: the name of the function
    :param on_job: called with each job; must neither block nor raise
    :param room: how much may arrive
    :param client_id: how the job servers' ``workers`` list calls us
    :raises ConfigError: no server, or a name that the protocol cannot carry
    """

    def __init__(
        self,
        servers: Sequence[Address],
        function: str,
        on_job: Callable[[Assignment], None],
        room: Room,
        options: LinkOptions | None = None,
        client_id: str = "",
    ) -> None:
        if not servers:
            raise ConfigError("no job server is given")
        if not function:
            raise ConfigError("the function has no name")
        self._function = _name("function", function)
        self._client_id = _name("client id", client_id)
        self._on_job = on_job
        self._room = room
        self._options = options or LinkOptions()
        self._stations = [
            Station(server, self._options, self._make_link)
            for server in dict.fromkeys(servers)
        ]
        self._links: dict[ServingLink, None] = {}
        self._hungry: deque[ServingLink] = deque()
        self._sharing = False
        self._draining = False
        self._closed = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    # -- for the owner ------------------------------------------------------

    async def run(self) -> None:
        """Serve until :meth:`close`; if it is cancelled, links are cut."""
        tasks = [asyncio.create_task(s.run()) for s in self._stations]
        closed = asyncio.create_task(self._closed.wait())
        try:
            await self._closed_or_failed(closed, tasks)
        finally:
            for task in (*tasks, closed):
                task.cancel()
            for link in list(self._links):
                link.drop("the worker was stopped")
            await asyncio.gather(*tasks, closed, return_exceptions=True)

    async def _closed_or_failed(
        self, closed: asyncio.Task[bool], tasks: list[asyncio.Task[None]]
    ) -> None:
        """A bug in a station must be seen, not leave a server unserved."""
        waiting: set[asyncio.Task[None] | asyncio.Task[bool]]
        waiting = {closed, *tasks}
        while not closed.done():
            done, waiting = await asyncio.wait(
                waiting, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if not task.cancelled():
                    task.result()

    def drain(self) -> None:
        """Take no more jobs; links stay for the answers of those at hand.

        A job may still arrive for each GRAB that is on its way, see
        :attr:`grabs_outstanding`. A link that is lost stays so.
        """
        if self._draining:
            return
        self._draining = True
        self._hungry.clear()
        for station in self._stations:
            station.retire()
        for link in list(self._links):
            link.leave(self._room.reserve)

    async def close(self) -> None:
        """Send what is to be sent, learn what became of it, and end.

        It takes at most about :data:`CLOSE_PATIENCE` seconds. Jobs that
        were not completed are lost: their servers hand them on.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    def room_freed(self) -> None:
        """There may be room again: let those grab who wait for it."""
        self._share()

    @property
    def grabs_outstanding(self) -> int:
        """For how many GRABs a job may still arrive."""
        return sum(link.grabs for link in self._links)

    @property
    def idle(self) -> bool:
        """Whether no GRAB is on its way."""
        return not self.grabs_outstanding

    @property
    def links(self) -> list[LinkStatus]:
        """How each link is, in the order of the servers."""
        return [station.status for station in self._stations]

    # -- for the links ------------------------------------------------------

    def connected(self, link: ServingLink) -> None:
        """The link is there, until it is gone."""
        self._links[link] = None
        link.gone.add_done_callback(lambda _: self._links.pop(link, None))

    def wants(self, link: ServingLink) -> None:
        """Queue the link for room; whoever waits already comes first."""
        if self._draining:
            return  # a link may register while it is being closed
        if link.hungry and link not in self._hungry:
            self._hungry.append(link)
        self._share()

    def arrived(self, job: Assignment) -> None:
        """Hand the job to the owner."""
        guarded(lambda: self._on_job(job))

    def released(self) -> None:
        """Room that a link had reserved is free for the others."""
        guarded(self._room.release)
        self._share()

    # -- inside -------------------------------------------------------------

    def _make_link(self, station: Station) -> ServingLink:
        return ServingLink(
            station.address,
            self._function,
            self._client_id,
            self,
            station.registered,
            self._options,
        )

    def _share(self) -> None:
        """Give room to the hungry in turn, one GRAB each.

        So a server that always has jobs cannot take all the room.
        """
        if self._sharing:
            return  # called back by the room; the loop below goes on
        self._sharing = True
        try:
            while self._hungry:
                if not self._hungry[0].hungry:
                    self._hungry.popleft()
                    continue
                if not self._room.reserve():
                    return
                link = self._hungry.popleft()
                link.grab()
                if link.hungry:
                    self._hungry.append(link)
        finally:
            self._sharing = False

    async def _close(self) -> None:
        self._draining = True
        self._hungry.clear()
        for station in self._stations:
            station.retire()
        await self._settle()
        links = list(self._links)
        for link in links:
            link.close("the worker was closed")
        if links:
            await asyncio.wait([link.gone for link in links], timeout=1)
        self._closed.set()

    async def _settle(self) -> None:
        """Wait until each server has taken all that was sent to it."""
        waiting: list[asyncio.Future[None]] = []
        for link in list(self._links):
            if link.registered:
                waiting.append(_settled(link))
        if waiting:
            await asyncio.wait(waiting, timeout=CLOSE_PATIENCE)


def _settled(link: ServingLink) -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    link.settle(lambda: None if future.done() else future.set_result(None))
    return future


def _name(what: str, name: str) -> bytes:
    if any(c.isspace() or not c.isprintable() for c in name):
        raise ConfigError(
            f"the {what} {one_line(name)!r} contains blanks or control"
            " characters"
        )
    return name.encode()
