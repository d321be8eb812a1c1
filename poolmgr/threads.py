"""Threads for the work."""

import contextvars
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TypeVar

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: A piece of work that is done within so many seconds has not blocked.
_SHORT = 0.001
#: Such pieces in a row after which more of them are expected.
_SEVERAL = 16
#: Seconds in which who does these has to have done at least one.
_PATIENCE = 0.005


class NoThreads(RuntimeError):
    """The system gives this process no more threads."""


class OwnThread(threading.Thread):
    """A thread of poolmgr's own: that it dies of an exception is a defect of
    ours, and a worker ends then."""


def start_daemon(name: str, work: Callable[[], object]) -> threading.Thread:
    """Have a thread do some work; the process ends without waiting for it.

    :param name: the thread's name, for the logs and the state report
    :raises NoThreads: there can be none
    """
    thread = OwnThread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise NoThreads(str(error)) from error
    return thread


class ThreadPool:
    """Threads that come when they are needed and go when they are not.

    Unlike :class:`concurrent.futures.ThreadPoolExecutor` it has no upper
    bound (who hands work in has one) and its threads are daemons: a plugin
    that never returns costs its thread, neither a place for others nor the
    end of the process.

    Only one thread is on its way at a time, and calls the next before it
    begins.  So work that does not block is done by few, one piece after the
    other: to wake a thread for each costs more than a short job does.  And
    where one piece after the other does not block, one thread does them all,
    and a second only sees to it that it goes on: two that never wait for
    anything but Python's lock are slower than one.

    :param name: the threads' name
    :param idle: seconds that a thread waits for more work
    """

    def __init__(self, name: str, idle: float = 10.0) -> None:
        self._name = name
        self._idle_seconds = idle
        self._lock = threading.Lock()
        self._work: deque[Callable[[], None]] = deque()
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._idle = 0
        self._coming = False
        # The thread that began last, until it finds nothing more to do; how
        # many pieces were done, and how many in a row that did not block.
        self._busy: object = None
        self._done = self._short = 0
        self._guarded = False

    def run(self, work: Callable[[], None]) -> None:
        """Have the work done by a thread, now.

        Where the system gives no more threads, the next that is free does it.

        :param work: must not raise
        """
        self._work.append(work)
        self._call_one()

    def wait_for(
        self,
        work: Callable[[], T],
        seconds: float,
        wakes: Callable[[Callable[[], None]], AbstractContextManager[None]]
        | None = None,
    ) -> T:
        """Have the work done by a thread, in our context; what it returns.

        A thread keeps the memory that its deepest call has needed.  Where
        many wait for long, what goes deep is so done by a few others.

        Where the system gives no more threads, it is done here.

        :param seconds: after which it is given up; what has not begun then,
            never does
        :param wakes: has its argument called, from any thread, when the work
            is to be given up sooner
        :raises TimeoutError: it was given up
        :raises BaseException: what the work raises
        """
        result: list[T] = []
        raised: list[BaseException] = []
        given_up: list[bool] = []
        done = threading.Lock()
        done.acquire()

        def wake() -> None:
            with suppress(RuntimeError):  # somebody else has done so
                done.release()

        context = contextvars.copy_context()

        def do() -> None:
            if given_up:
                return
            try:
                result.append(context.run(work))
            except BaseException as error:
                raised.append(error)
            finally:
                wake()

        self._work.append(do)
        if not self._call_one():
            # Perhaps there is none at all that could come.
            self._do_all()
        with wakes(wake) if wakes else nullcontext():
            done.acquire(timeout=seconds)
        if raised:
            raise raised.pop()
        if result:
            return result[0]
        given_up.append(True)
        raise TimeoutError(f"not done within {seconds:g} s")

    def _call_one(self) -> bool:
        """Have one more thread come, unless one is on its way.

        :returns: False when the system gives no more threads
        """
        with self._lock:
            if self._coming or (self._guarded and self._busy):
                return True
            self._coming = True
            if self._idle:
                self._idle -= 1
                self._calls.put(None)
                return True
        try:
            start_daemon(self._name, self._serve)
        except NoThreads as error:
            self._coming = False
            LOG.error(
                "%s; %d wait for one of those there are (%s)",
                error,
                len(self._work),
                self._name,
            )
            return False
        return True

    def _serve(self) -> None:
        while True:
            if self._is_for_one():
                self._guard()
            # From here on it sees what is handed in.
            self._coming = False
            self._do_all()
            with self._lock:
                self._idle += 1
            try:
                self._calls.get(timeout=self._idle_seconds)
            except queue.Empty:
                if not self._was_called():
                    return

    def _was_called(self) -> bool:
        """Whether there is a call after all; if not, we are not idle, but go.

        Another idle thread may take it at any time: so it is never waited
        for here.
        """
        with self._lock:
            try:
                self._calls.get_nowait()
            except queue.Empty:
                self._idle -= 1
                return False
        return True

    def _is_for_one(self) -> bool:
        """Whether another thread is at work that it had better do alone."""
        return self._busy is not None and self._short >= _SEVERAL

    def _guard(self) -> None:
        """Wait until it does not go on: it has blocked, or all is done."""
        with self._lock:
            self._guarded, self._coming = True, False
        done = -1
        while done != self._done:
            done = self._done
            time.sleep(_PATIENCE)
        with self._lock:
            self._guarded = False
            if self._busy is not None:
                # Others are to come at once again.
                self._short = 0

    def _do_all(self) -> None:
        me = self._busy = object()
        while True:
            try:
                work = self._work.popleft()
            except IndexError:
                with self._lock:
                    # Who hands it in may count on the one who is at work.
                    if self._work:
                        continue
                    if self._busy is me:
                        self._busy = None
                return
            if self._work:
                self._call_one()
            began = time.monotonic()
            work()
            del work  # its job must not live on while the thread is idle
            self._done += 1
            if time.monotonic() - began < _SHORT:
                self._short += 1
            else:
                self._short = 0
