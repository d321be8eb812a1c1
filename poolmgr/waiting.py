"""Deadlines, back-off, and waits that can be called off."""

import logging
import random
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from copy import copy

from poolmgr.errors import DeadlineExceeded, Stopped
from poolmgr.threads import NoThreads, start_daemon

LOG = logging.getLogger(__name__)

#: Seconds that patient work lets other work go first, at most.
PATIENCE = 30.0


class Wake:
    """Wakes one who waits.

    What :class:`threading.Event` does for one thread, in a tenth of the memory
    and with no frame on Python's stack: both count where thousands wait.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake who waits, or who waits next; from any thread."""
        with suppress(RuntimeError):  # nobody has waited since the last time
            self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Sleep until it is set, at most so long; whether it was.

        It is not set any more then.
        """
        return self._lock.acquire(timeout=seconds)


class Stop:
    """A signal to give up, set once, that any number of waits listen to."""

    def __init__(self) -> None:
        self._given = False
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def set(self) -> None:
        """Give the signal."""
        with self._lock:
            self._given = True
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    def is_set(self) -> bool:
        """Whether the signal was given."""
        return self._given

    def wait(self, seconds: float) -> bool:
        """Sleep, at most so long; whether the signal was given."""
        # Made here: most jobs never sleep.
        wake = Wake()
        with self.wakes(wake.set):
            return wake.wait(seconds)

    def wakes(self, callback: Callable[[], None]) -> "_Listening":
        """Call back when the signal is given while the block runs."""
        return _Listening(self, callback)

    def add(self, callback: Callable[[], None]) -> None:
        """Call back when the signal is given, at once if it was."""
        with self._lock:
            self._callbacks.append(callback)
            given = self._given
        if given:
            callback()

    def remove(self, callback: Callable[[], None]) -> None:
        """Call this back no more."""
        with self._lock:
            self._callbacks.remove(callback)


class _Listening:
    """Has a stop call back while the block runs.

    A class, because each of thousands who wait has one.
    """

    __slots__ = ("_callback", "_stop")

    def __init__(self, stop: Stop, callback: Callable[[], None]) -> None:
        self._stop = stop
        self._callback = callback

    def __enter__(self) -> None:
        self._stop.add(self._callback)

    def __exit__(self, *error: object) -> None:
        self._stop.remove(self._callback)


class Deadline:
    """When a piece of work has to end: at a time, or at a signal.

    Time is monotonic, so that a clock that jumps changes nothing.

    :param seconds: how long the work may take from now on
    :param stop: the signal that ends it sooner
    :param urgent: whether the work goes before other work that waits for
        the same thing, as a short job does before a build
    :ivar yields_until: when it no longer lets other work that waits for the
        same thing go first, monotonic; 0 if it does not at all
    """

    def __init__(
        self, seconds: float, stop: Stop | None = None, urgent: bool = False
    ) -> None:
        self.seconds = seconds
        self.stop = stop or Stop()
        self.urgent = urgent
        self.yields_until = 0.0
        self._end = time.monotonic() + seconds

    def patiently(self, patience: float = PATIENCE) -> "Deadline":
        """The same, for a part of the work that lets others go first.

        :param patience: seconds from now, at most; half of the time that is
            left at most, or its turn might come too late
        """
        same = copy(self)
        seconds = min(patience, self.remaining() / 2)
        same.yields_until = time.monotonic() + seconds
        return same

    @property
    def patient(self) -> bool:
        """Whether it lets others go first, or has done so."""
        return self.yields_until > 0.0

    def remaining(self) -> float:
        """Seconds left; never negative."""
        return max(0.0, self._end - time.monotonic())

    def check(self, doing: str) -> None:
        """Go on only while there is time.

        :param doing: what is being done, for the error's message
        :raises Stopped: the signal was given
        :raises DeadlineExceeded: the time is up
        """
        self.check_stop(doing)
        if not self.remaining():
            raise DeadlineExceeded(doing, self.seconds)

    def check_stop(self, doing: str) -> None:
        """Go on unless the signal was given.

        :raises Stopped: it was
        """
        if self.stop.is_set():
            raise Stopped(doing)

    def sleep(self, seconds: float, doing: str) -> None:
        """Sleep, unless the work has to end sooner.

        :raises Stopped: the signal was given
        :raises DeadlineExceeded: the time is up, at the end of the sleep
        """
        self.stop.wait(min(seconds, self.remaining()))
        self.check(doing)

    def retries(
        self, doing: str, first: float = 0.1, longest: float = 2.0
    ) -> Iterator[int]:
        """Count attempts, pausing between them by :func:`backoff`.

        :returns: 0, 1, 2, ... for as long as there is time
        :raises Stopped: the signal was given
        :raises DeadlineExceeded: the time is up
        """
        self.check(doing)
        yield 0
        for attempt, pause in enumerate(backoff(first, longest), 1):
            self.sleep(pause, doing)
            yield attempt


def backoff(first: float, longest: float) -> Iterator[float]:
    """Pauses in seconds that double up to the longest, jittered.

    Each is between half of its length and the whole of it, so that many who
    failed together do not come back together.
    """
    pause = first
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        pause = min(pause * 2, longest)


class Expiries:
    """Calls back at a time unless cancelled before.

    Made for many entries and few different lengths: those of one length
    expire in the order they came, so adding and cancelling cost O(1).  Its
    thread starts with the first entry and ends when there is none.  Where
    the system gives no more threads, the next entry tries for one again.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._by_length: dict[
            float, dict[Hashable, tuple[float, Callable[[], None]]]
        ] = {}
        self._served = False
        self._waits_until = float("inf")

    def add(
        self, key: Hashable, seconds: float, callback: Callable[[], None]
    ) -> None:
        """Call back in so many seconds, on the thread of this object."""
        at = time.monotonic() + seconds
        with self._changed:
            self._by_length.setdefault(seconds, {})[key] = (at, callback)
            if not self._served:
                self._start()
            elif at < self._waits_until:
                self._changed.notify()

    def cancel(self, key: Hashable, seconds: float) -> None:
        """Forget an entry; nothing happens if it is not there."""
        with self._changed:
            entries = self._by_length.get(seconds)
            if entries is not None:
                entries.pop(key, None)

    def _start(self) -> None:
        try:
            start_daemon(self._name, self._run)
        except NoThreads as error:
            LOG.error("%s; nothing is called in time (%s)", error, self._name)
        else:
            self._served = True

    def _run(self) -> None:
        while True:
            with self._changed:
                callback = self._next()
                if callback is None and not self._served:
                    return
            if callback is not None:
                callback()

    def _next(self) -> Callable[[], None] | None:
        """Take what has expired, or wait for it; with the lock held."""
        for length in [k for k, v in self._by_length.items() if not v]:
            del self._by_length[length]
        if not self._by_length:
            self._served = False
            return None
        entries = min(self._by_length.values(), key=_first_end)
        key = next(iter(entries))
        at, callback = entries[key]
        if (wait := at - time.monotonic()) > 0:
            self._waits_until = at
            self._changed.wait(min(wait, threading.TIMEOUT_MAX))
            self._waits_until = float("inf")
            return None
        del entries[key]
        return callback


def _first_end(
    entries: dict[Hashable, tuple[float, Callable[[], None]]],
) -> float:
    return next(iter(entries.values()))[0]
