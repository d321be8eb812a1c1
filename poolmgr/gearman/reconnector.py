"""Keeps a worker connected to one job server."""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from poolmgr.errors import TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.connect import Resolver, connect
from poolmgr.gearman.options import ConnectionOptions
from poolmgr.gearman.worker_connection import WorkerConnection

log = logging.getLogger(__name__)

STEADY = 3.0
"""Seconds after which a connection counts as good, and its loss as a new
one."""

REASONS = 8
"""How many of the last reasons are not logged again."""

State = Literal["connecting", "up", "waiting"]


@dataclass(frozen=True)
class ConnectionStatus:
    """How a worker's connection to one job server is, at the moment.

    :ivar state: "up" is registered; "waiting" is before the next attempt
    :ivar since: when that began, in seconds since the epoch
    :ivar last_error: why it was last lost or not reached, None if never
    :ivar reconnects: attempts after the first
    """

    address: Address
    state: State
    since: float
    last_error: str | None
    reconnects: int


def delay(failures: int, options: ConnectionOptions) -> float:
    """Seconds to wait before the next attempt, with jitter.

    :param failures: attempts in a row that came to nothing, from 1 up
    """
    longest = options.retry_longest
    # The exponent is bounded: 2.0 ** 1024 overflows after some days.
    doubled = options.retry_first * 2.0 ** min(failures - 1, 60)
    return min(longest, doubled) * random.uniform(0.5, 1)  # noqa: S311


class Reconnector:
    """Keeps a worker connected to one job server: connects, and again.

    :param make: makes a connection
    """

    def __init__(
        self,
        address: Address,
        options: ConnectionOptions,
        make: Callable[["Reconnector"], WorkerConnection],
    ) -> None:
        self.address = address
        self._options = options
        self._make = make
        self._resolver = Resolver(address)
        self._connection: WorkerConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._retired = False
        self._state: State = "connecting"
        self._since = time.time()
        self._last_error: str | None = None
        # Of this outage; one that fails in turns must not fill the log.
        self._logged: deque[str] = deque(maxlen=REASONS)
        self._attempts = 0
        self._up_at: float | None = None

    @property
    def status(self) -> ConnectionStatus:
        """How the connection is at the moment."""
        return ConnectionStatus(
            self.address,
            self._state,
            self._since,
            self._last_error,
            max(0, self._attempts - 1),
        )

    async def run(self) -> None:
        """Serve until retired."""
        self._task = asyncio.current_task()
        failures = 0
        while not self._retired:
            self._enter("connecting")
            self._attempts += 1
            reason = await self._serve()
            failures = 1 if self._was_steady() else failures + 1
            if self._retired:
                break
            if self._up_at is None:
                self._resolver.prefer_next()
            self._failed(reason)
            await asyncio.sleep(delay(failures, self._options))

    def retire(self) -> None:
        """Never connect again; a present connection stays."""
        self._retired = True
        if self._connection is None and self._task is not None:
            self._task.cancel()

    def registered(self) -> None:
        """The server has taken us in."""
        self._enter("up")
        self._up_at = asyncio.get_running_loop().time()
        self._logged.clear()
        log.info("Job server %s: connected and registered", self.address)

    async def _serve(self) -> str:
        """Connect and stay; why that came to an end."""
        self._up_at = None
        try:
            self._connection = await connect(
                self.address,
                self._options,
                lambda: self._make(self),
                self._resolver,
            )
            # Not awaited itself: to cancel us must not end the future.
            await asyncio.wait([self._connection.gone])
            return self._connection.gone.result()
        except TransportError as error:
            return str(error)
        finally:
            self._connection = None

    def _was_steady(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._up_at is not None and now - self._up_at >= STEADY

    def _enter(self, state: State) -> None:
        self._state, self._since = state, time.time()

    def _failed(self, reason: str) -> None:
        self._enter("waiting")
        self._last_error = reason
        if reason not in self._logged:
            self._logged.append(reason)
            what = "not reached" if self._up_at is None else "lost"
            log.warning("Job server %s: %s: %s", self.address, what, reason)
