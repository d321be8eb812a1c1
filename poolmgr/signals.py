"""The process's signals: read by a thread of their own, and what ends it."""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType

from poolmgr.threads import NoThreads, start_daemon
from poolmgr.waiting import Stop

LOG = logging.getLogger(__name__)

Number = signal.Signals
Handler = Callable[[Number], None]

#: Seconds that the start has to break off, and a log line to be written.
PATIENCE = 1.0


class Signals:
    """Reads signals, whatever the other threads are doing.

    Python runs handlers on the main thread, between two of its steps; one
    that waits for a lock, for a full pipe or in somebody's C code would keep
    them waiting, too.  Here the system's handler writes each into a pipe at
    once, and a thread reads them there.  Nothing is blocked, so processes
    that a plugin starts have their signals as usual.

    One for a process, made on its main thread, until the process ends.

    :param numbers: what is read; each waits until :meth:`on` says what it
        does
    """

    def __init__(self, *numbers: Number) -> None:
        self._lock = threading.Lock()
        self._handlers: dict[Number, Handler] = {}
        self._missed: set[Number] = set()
        self._pipe, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, _nothing)
        start_daemon("poolmgr-signals", self._read)

    def on(self, number: Number, handler: Handler) -> None:
        """Say what a signal does, from now on and if it came before.

        :param handler: called on the thread that reads signals, so it must
            not take long
        """
        with self._lock:
            self._handlers[number] = handler
            missed = number in self._missed
            self._missed.discard(number)
        if missed:
            handler(number)

    def _read(self) -> None:
        while True:
            # Many of a kind that came at once are one, as in the system.
            for number in dict.fromkeys(os.read(self._pipe, 4096)):
                try:
                    self._received(Number(number))
                except Exception:
                    LOG.exception("signal %d could not be obeyed", number)

    def _received(self, number: Number) -> None:
        with self._lock:
            handler = self._handlers.get(number)
            if handler is None:
                self._missed.add(number)
        if handler is not None:
            handler(number)


class Aside:
    """Runs work on a thread of its own when a signal comes.

    The next signal must not wait for it.  It runs once at a time, and once
    more if it is asked for while it runs.

    :param work: what to run
    :param name: its thread's name
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._work = work
        self._name = name
        self._about_to = threading.Lock()
        self._runs = threading.Lock()

    def __call__(self, number: Number) -> None:
        """Start it, unless it is about to start."""
        if not self._about_to.acquire(blocking=False):
            return
        try:
            start_daemon(self._name, self._run)
        except NoThreads:
            self._run()

    def _run(self) -> None:
        with self._runs:
            self._about_to.release()
            try:
                self._work()
            except Exception:
                LOG.exception("%s failed", self._name)


class Ending:
    """How signals end the process: the first gently, the second at once.

    Until :meth:`serves` is called it is at its start, and the first signal
    breaks that off.

    :ivar stop: given when the start is to be broken off
    """

    def __init__(self) -> None:
        self.stop = Stop()
        self._lock = threading.Lock()
        self._given = False
        self._drain: Callable[[], None] | None = None

    def __call__(self, number: Number) -> None:
        """Take a signal; for :meth:`Signals.on`."""
        with self._lock:
            again, self._given = self._given, True
            drain = self._drain
        if again:
            _say(logging.WARNING, f"{number.name} again: stopping at once")
            os._exit(128 + number)
        if drain is not None:
            _say(
                logging.INFO,
                f"{number.name}: draining; a second one ends it at once",
            )
            drain()
        else:
            _say(logging.INFO, f"{number.name}: ending before it has served")
            self.stop.set()
            self._leave_soon()

    def serves(self, drain: Callable[[], None]) -> bool:
        """The start is over; False if it was broken off.

        :param drain: what the first signal does from now on
        """
        with self._lock:
            self._drain = drain
            return not self._given

    def _leave_soon(self) -> None:
        """Nothing is lost at the start, so nothing there is waited for."""
        timer = threading.Timer(PATIENCE, os._exit, (0,))
        timer.name, timer.daemon = "poolmgr-ending", True
        timer.start()


def _say(level: int, text: str) -> None:
    """Log, but do not hang if who reads the log does."""
    with contextlib.suppress(NoThreads):
        saying = partial(LOG.log, level, "%s", text)
        start_daemon("poolmgr-saying", saying).join(PATIENCE)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Have the system's handler in place, which writes into the pipe."""
