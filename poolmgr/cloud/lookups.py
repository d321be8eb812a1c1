"""One question to the cloud for all who ask at the same time."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Generic, TypeVar

from poolmgr.errors import (
    CloudError,
    CloudUnavailable,
    DeadlineExceeded,
    Stopped,
)
from poolmgr.tracing import Following, Trail, current
from poolmgr.waiting import Deadline

LOG = logging.getLogger(__name__)

V = TypeVar("V")

#: Seconds after which a question that is not answered keeps nobody waiting.
PATIENCE = 2.0

Ask = Callable[[Collection[str], Deadline], Mapping[str, list[V]]]


class _Round(Generic[V]):
    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.urgent = False
        self.patient = True
        self.began: float | None = None
        self.over = threading.Event()
        self.answer: Mapping[str, list[V]] | None = None
        self.error: CloudError | None = None
        self.asking = 0
        self.request_id: str | None = None


class Batch(Generic[V]):
    """Collects keys while a question is under way and asks for them at once.

    The question is asked after each of its keys was given, so an answer is
    never older than the call of :meth:`get` that returns it.  It is asked on
    the thread of one of those who wait; there is no thread of its own.

    :param ask: takes keys and a deadline, returns what there is of each key
    :param trouble: why the cloud does not answer, if that is known
    """

    def __init__(
        self,
        ask: "Ask[V]",
        trouble: Callable[[], CloudError | None] = lambda: None,
    ) -> None:
        self._ask = ask
        self._trouble = trouble
        self._lock = threading.Lock()
        self._running: _Round[V] | None = None
        self._next: _Round[V] = _Round()

    def get(self, key: str, deadline: Deadline, doing: str) -> list[V]:
        """What there is of a key.

        :param doing: what is being looked for, for an error's message
        :raises CloudError: the question failed
        :raises DeadlineExceeded: there was no answer in time
        :raises Stopped: the wait was called off
        """
        try:
            return self._get(key, deadline, doing)
        except DeadlineExceeded:
            trouble = self._trouble()
            if trouble is None:
                raise
            raise trouble from None

    def _get(self, key: str, deadline: Deadline, doing: str) -> list[V]:
        while True:
            deadline.check(doing)
            joined = self._join(key, deadline)
            if self._lead(joined, deadline, doing):
                self._run(joined, deadline)
            if joined.request_id:
                LOG.debug("%s: for many: %s", doing, joined.request_id)
            if joined.error is not None:
                raise joined.error
            if joined.answer is not None:
                return joined.answer.get(key, [])
            # Who asked had to give up; somebody else has to ask.

    def _join(self, key: str, deadline: Deadline) -> _Round[V]:
        with self._lock:
            self._next.keys.add(key)
            self._next.urgent |= deadline.urgent
            self._next.patient &= deadline.patient
            self._next.asking += 1
            return self._next

    def _lead(self, joined: _Round[V], deadline: Deadline, doing: str) -> bool:
        """Wait for the answer, or for being the one who has to ask."""
        while not joined.over.is_set():
            with self._lock:
                running = self._running
                free = running is None or self._is_stuck(running)
                if joined is self._next and free:
                    joined.began = time.monotonic()
                    self._running, self._next = joined, _Round()
                    return True
            until = running if joined is self._next else joined
            # In slices, so that a stop, or a question that is stuck, is
            # noticed without a callback for each who waits.
            slice_ = min(PATIENCE / 4, deadline.remaining())
            (until or joined).over.wait(slice_)
            deadline.check(doing)
        return False

    def _is_stuck(self, running: _Round[V]) -> bool:
        began = running.began
        return began is not None and time.monotonic() - began > PATIENCE

    def _run(self, joined: _Round[V], deadline: Deadline) -> None:
        # A build may ask for a short job, which must not wait as builds do.
        asked = Deadline(deadline.remaining(), deadline.stop, joined.urgent)
        if joined.patient:
            asked = asked.patiently()
        try:
            with Following(self._trail(joined)):
                joined.answer = self._ask(joined.keys, asked)
        except CloudUnavailable:
            raise  # the time of who asked was up; the others ask anew
        except CloudError as error:
            joined.error = error
        except (DeadlineExceeded, Stopped):
            pass  # of who asked; the others go on
        finally:
            with self._lock:
                if self._running is joined:
                    self._running = None
            joined.over.set()

    def _trail(self, joined: _Round[V]) -> Trail:
        """Whose question it is: nobody's in particular if many ask."""
        trail = current()
        if joined.asking == 1 and trail is not None:
            return trail
        trail = Trail()
        joined.request_id = trail.request_id
        return trail


def parted(items: Collection[str], size: int) -> Iterator[list[str]]:
    """The items sorted, so many at a time."""
    order = sorted(items)
    for start in range(0, len(order), size):
        yield order[start : start + size]
