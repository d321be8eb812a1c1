"""Gives up what takes too long, wherever it may hang."""

import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

from poolmgr.drivers.nova import failures
from poolmgr.threads import ThreadPool
from poolmgr.waiting import Deadline

T = TypeVar("T")

#: When the requests of this context have to be over, monotonic.
END: ContextVar[float] = ContextVar("END", default=float("inf"))
#: Seconds that HTTP has to give up by itself, for it can say why.
_GRACE = 0.5


class Watchdog:
    """Has threads do what the SDK does, and waits no longer than it may take.

    The SDK resolves names, takes locks and sleeps, all without a bound.

    :param seconds: how long one call of the cloud may take
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._threads = ThreadPool("poolmgr-call")
        self._lock = threading.Lock()
        self._out: dict[object, float] = {}
        self._back = 0.0

    def run(
        self,
        work: Callable[[], T],
        deadline: Deadline,
        doing: str,
        changes: bool = False,
    ) -> T:
        """What some work of the SDK returns.

        Hundreds of jobs may wait, and a thread keeps the memory that its
        deepest call has needed: here these are few.

        :param doing: what it is for, for an error's message
        :param changes: whether it changes something: then its answer is
            waited for although the deadline's stop is given
        :raises CloudError: it failed, or took too long
        :raises DeadlineExceeded: there is no time for it
        :raises Stopped: likewise
        """
        deadline.check(doing)
        seconds = max(0.05, min(self._seconds, deadline.remaining()))
        end = time.monotonic() + seconds

        def bounded() -> T:
            END.set(end)
            with failures.named(doing):
                return self._counted(work)

        try:
            return self._threads.wait_for(
                bounded,
                seconds + _GRACE,
                None if changes else deadline.stop.wakes,
            )
        except TimeoutError:
            if not changes:
                deadline.check_stop(doing)
            raise failures.Unavailable(
                f"{doing}: no answer within {seconds:.3g} s"
            ) from None

    @property
    def overdue(self) -> float:
        """Seconds since when a call should have come back, and none has.

        What was given up has not come back while its thread hangs.
        """
        with self._lock:
            if not self._out:
                return 0.0
            since = max(self._back, min(self._out.values()))
        # Connecting has the time-out once for each address of a host.
        return max(0.0, time.monotonic() - since - 2 * self._seconds - _GRACE)

    def _counted(self, work: Callable[[], T]) -> T:
        me = object()
        with self._lock:
            self._out[me] = time.monotonic()
        try:
            return work()
        finally:
            with self._lock:
                del self._out[me]
                self._back = time.monotonic()
