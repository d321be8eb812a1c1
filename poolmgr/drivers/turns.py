"""One thread at a time, and nobody waits longer than his time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from poolmgr.waiting import Deadline


class Turns:
    """Locks by name that are waited for within a deadline."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._taken: set[str] = set()

    @contextmanager
    def of(self, key: str, deadline: Deadline) -> Iterator[None]:
        """Wait until nobody else is in a block of this key; the block is.

        :raises DeadlineExceeded: the turn did not come in time
        :raises Stopped: the wait was called off
        """
        with self._free:
            while key in self._taken:
                deadline.check(f"waiting for a turn: {key}")
                self._free.wait(min(0.5, deadline.remaining()))
            self._taken.add(key)
        try:
            yield
        finally:
            with self._free:
                self._taken.remove(key)
                self._free.notify_all()
