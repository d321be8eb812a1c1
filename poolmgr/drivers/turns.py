"""One thread at a time, and nobody waits longer than his time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from poolmgr.waiting import Deadline


class Turns:
    """Locks by name that are waited for within a deadline.

    :param patience: seconds after which a block that is not left keeps
        nobody out any more
    """

    def __init__(self, patience: float = float("inf")) -> None:
        self._patience = patience
        self._free = threading.Condition()
        self._taken: dict[str, float] = {}

    @contextmanager
    def of(self, key: str, deadline: Deadline) -> Iterator[None]:
        """Wait until nobody else is in a block of this key; the block is.

        :raises DeadlineExceeded: the turn did not come in time
        :raises Stopped: the wait was called off
        """
        with self._free:
            while self._is_taken(key):
                deadline.check(f"waiting for a turn: {key}")
                self._free.wait(min(0.5, deadline.remaining()))
            self._taken[key] = time.monotonic()
        try:
            yield
        finally:
            with self._free:
                self._taken.pop(key, None)
                self._free.notify_all()

    def _is_taken(self, key: str) -> bool:
        since = self._taken.get(key)
        return since is not None and time.monotonic() < since + self._patience
