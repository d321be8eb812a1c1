"""The process's signals: read by a thread of their own, and what ends it."""

import contextlib
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from types import FrameType
from typing import Any, TypeVar

from poolmgr.threads import NoThreads, start_daemon
from poolmgr.waiting import Stop

LOG = logging.getLogger(__name__)

Number = signal.Signals
Handler = Callable[[Number], object]
T = TypeVar("T")

#: What is said of a command that a signal has ended.
EARLY = "ended early"
#: What ends a command.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds that the start has to break off, and a log line to be written.
PATIENCE = 1.0
#: Seconds within which signals are one: Ctrl-C reaches a command, and its
#: supervisor, which sends it SIGTERM.
TOGETHER = 0.05


class Signals:
    """Reads signals, whatever the other threads are doing.

    Python runs handlers on the main thread, between two of its steps; one
    that waits for a lock, for a full pipe or in somebody's C code would keep
    them waiting, too.  Here the system's handler writes each into a pipe at
    once, and a thread reads them there.  Nothing is blocked, so processes
    that a plugin starts have their signals as usual.

    One for a process, made on its main thread, until the process ends.

    :param numbers: what is read; each waits until :meth:`on` says what it
        does.  One that is ignored, as by nohup, stays so until then.
    :ivar seen: those that the main thread has noticed
    """

    def __init__(self, *numbers: Number) -> None:
        self.seen: list[Number] = []
        self._lock = threading.Lock()
        self._handlers: dict[Number, Handler] = {}
        self._missed: list[Number] = []
        self._pipe, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self.read(*(n for n in numbers if not is_ignored(n)))
        # What blocked them while this was being prepared, or who started us.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        self._reading = False

    def read(self, *numbers: Number) -> None:
        """Read more of them; on the main thread."""
        for number in numbers:
            signal.signal(number, self._notice)

    def on(self, handler: Handler, *numbers: Number) -> None:
        """Say what signals do, from now on and if one came before.

        :param handler: called on the thread that reads signals, so it must
            not take long; once for those that come together
        :raises NoThreads: there can be no such thread
        """
        self.read(*numbers)
        with self._lock:
            self._handlers.update(dict.fromkeys(numbers, handler))
            missed = [n for n in self._missed if n in numbers]
            self._missed = [n for n in self._missed if n not in numbers]
        if missed:
            handler(missed[0])
        if not self._reading:
            start_daemon("poolmgr-signals", self._read)
            self._reading = True

    def _read(self) -> None:
        while True:
            came = os.read(self._pipe, 4096)
            time.sleep(TOGETHER)
            if select.select([self._pipe], [], [], 0)[0]:
                came += os.read(self._pipe, 4096)
            for handler, number in self._handlers_of(came).items():
                try:
                    handler(number)
                except Exception:
                    LOG.exception("signal %d could not be obeyed", number)

    def _handlers_of(self, came: bytes) -> dict[Handler, Number]:
        """Whom to call, each with the first of its signals."""
        found: dict[Handler, Number] = {}
        with self._lock:
            for number in map(Number, came):
                if number in self._handlers:
                    found.setdefault(self._handlers[number], number)
                else:
                    self._missed.append(number)
        return found

    def _notice(self, number: int, frame: FrameType | None) -> None:
        """Have the system's handler in place, which writes into the pipe."""
        self.seen.append(Number(number))


def is_ignored(number: Number) -> bool:
    """Whether who started the process wants it to ignore a signal."""
    return signal.getsignal(number) is signal.SIG_IGN


class Interrupted(KeyboardInterrupt):
    """A signal ends the command.

    :ivar number: the signal
    :ivar said: what became of the work, for the line that tells of it
    :ivar ignored: whether Python has dropped it: it does so in a destructor
    """

    def __init__(self, number: Number) -> None:
        super().__init__()
        self.number = number
        self.said = EARLY
        self.ignored = False


class Interruption:
    """How signals end a command: the first as an exception, the next at once.

    :class:`Interrupted` is raised once, on the main thread.  If that hangs in
    somebody's C code, as a look-up of a name does, or if a destructor has
    swallowed the exception, the process is ended.

    :ivar number: the first signal
    """

    def __init__(self) -> None:
        self.number: Number | None = None
        self._raised: Interrupted | None = None
        self._began = False
        self._held = False
        self._cancel: Callable[[], object] | None = None

    def begin(self, signals: Signals, *numbers: Number) -> None:
        """Have these signals interrupt from now on, but not one that is
        ignored; on the main thread.

        :raises Interrupted: one has come already
        """
        heeded = [n for n in numbers if not is_ignored(n)]
        with contextlib.suppress(NoThreads):  # then all are as the first
            signals.on(self, *heeded)
        for number in heeded:
            signal.signal(number, self._interrupt)
        for number in heeded:
            if number in signals.seen:
                self._interrupt(number, None)

    def hold(self) -> None:
        """Raise nothing from now on: :meth:`check` does.

        For work that must not be left in the middle of a step.
        """
        self._held = True

    def check(self) -> None:
        """Go on unless a signal has come.

        :raises Interrupted: one has
        """
        if self.number is not None:
            raise Interrupted(self.number)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """What :func:`asyncio.run` does; a signal cancels it.

        :raises Interrupted: one has
        """
        import asyncio  # most commands do without

        async def cancellable() -> T:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None  # noqa: S101 - we are in one
            self._cancel = partial(loop.call_soon_threadsafe, task.cancel)
            try:
                return await main
            finally:
                self._cancel = None

        try:
            return asyncio.run(cancellable())
        except asyncio.CancelledError:
            self.check()
            raise

    def __call__(self, number: Number) -> None:
        """Take a signal; for :meth:`Signals.on`."""
        again, self._began = self._began, True
        if again:
            _end_at_once(number)
        if not self._held:
            with contextlib.suppress(NoThreads):
                ending = partial(self._end_if_stuck, number)
                start_daemon("poolmgr-ending", ending)

    def _end_if_stuck(self, number: Number) -> None:
        time.sleep(PATIENCE)
        raised = self._raised
        heard = self.number is not None and not (raised and raised.ignored)
        if not heard and not self._held:
            _say(logging.WARNING, f"{number.name}: {EARLY}, in a call")
            os._exit(128 + number)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            return
        self.number = Number(number)
        if self._cancel is not None:
            self._cancel()
        elif not self._held:
            self._raised = Interrupted(self.number)
            raise self._raised


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
            _end_at_once(number)
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


def _end_at_once(number: Number) -> None:
    _say(logging.WARNING, f"{number.name} again: stopping at once")
    os._exit(128 + number)
