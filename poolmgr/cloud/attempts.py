"""Attempts that a circuit breaker counts, and those that wait for it."""

import asyncio
import math
from collections import deque
from collections.abc import Callable

from poolmgr.errors import PoolmgrError
from poolmgr.tracing import RequestContext


class Attempt:
    """Somebody's attempt, and the wait for it.

    :ivar on_trial: whether it finds out if all is well again
    :ivar began: whether it is under way, or was
    :ivar begun: when it began, by the loop's clock
    :ivar end: when it is refused if the breaker is open
    :ivar granted: done when it may begin, or is refused
    """

    __slots__ = (
        "began",
        "begun",
        "context",
        "end",
        "granted",
        "on_trial",
        "urgent",
    )

    def __init__(self, context: RequestContext | None) -> None:
        self.context = context
        self.urgent = context is not None and context.urgent
        self.on_trial = False
        self.began = False
        self.begun = 0.0
        self.end = math.inf
        self.granted: asyncio.Future[None] | None = None


class Waiting:
    """Attempts that wait to begin: urgent ones first, else as they came."""

    def __init__(self) -> None:
        self._urgent: deque[Attempt] = deque()
        self._others: deque[Attempt] = deque()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def add(self, attempt: Attempt) -> None:
        """Add one that waits."""
        (self._urgent if attempt.urgent else self._others).append(attempt)

    def remove(self, attempt: Attempt) -> None:
        """Remove one, if it is there."""
        for queue in (self._urgent, self._others):
            if attempt in queue:
                queue.remove(attempt)

    def first(self, others_first: bool) -> Attempt | None:
        """Return the one whose turn it is, None if nobody waits."""
        queue = self._urgent or self._others
        if self._others and others_first:
            queue = self._others
        return queue[0] if queue else None

    def tell(self, error: Callable[[], PoolmgrError]) -> None:
        """Have all that wait know why."""
        for attempt in (*self._urgent, *self._others):
            if attempt.context is not None:
                attempt.context.trouble = error()

    def refuse(
        self, error: Callable[[], PoolmgrError], late_at: float
    ) -> None:
        """Refuse all that want to wait no longer than until a time."""
        for attempt in (*self._urgent, *self._others):
            granted = attempt.granted
            if attempt.end <= late_at and granted and not granted.done():
                self.remove(attempt)
                granted.set_exception(error())
