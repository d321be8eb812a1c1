"""The process's signals: read by a thread of their own, and what ends it."""

import logging
import os
import queue
import select
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from types import FrameType
from typing import Any, TypeVar

LOG = logging.getLogger(__name__)

Number = signal.Signals
Handler = Callable[[Number], object]
T = TypeVar("T")

#: What is said of a command that a signal has ended.
EARLY = "ended early"
#: What ends a command.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds that a command has to break off, and a log line to be written.
GRACE = 1.0
#: Seconds within which signals are one: Ctrl-C reaches a command, and its
#: supervisor, which sends it SIGTERM.
TOGETHER = 0.05
#: Written into the pipe of signals when there is a handler for some more.
_NEW = b"\0"


class Signals:
    """Reads signals, whatever the other threads are doing.

    Python runs handlers on the main thread, between two of its steps, and
    asyncio in its loop; one that hangs in somebody's C code, or in a pipe
    that is full, would keep them waiting.  Here the system's handler writes
    each into a pipe at once, and a thread reads them there.  Nothing is
    blocked, so processes that a plugin starts have their signals as usual.

    One for a process, made on its main thread, until the process ends.

    :param numbers: what is read; each waits until :meth:`on` says what it
        does.  One that is ignored, as by nohup, stays so until then.
    :ivar seen: those that the main thread has noticed
    """

    def __init__(self, *numbers: Number) -> None:
        self.seen: list[Number] = []
        # Until the thread takes them.
        self._new: queue.SimpleQueue[dict[Number, Handler]] = (
            queue.SimpleQueue()
        )
        self._pipe, self._write = os.pipe()
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
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
        """
        self.read(*numbers)
        self._new.put(dict.fromkeys(numbers, handler))
        os.write(self._write, _NEW)
        if not self._reading:
            _start_thread("poolmgr-signals", self._read)
            self._reading = True

    def _read(self) -> None:
        handlers: dict[Number, Handler] = {}
        missed = b""
        while True:
            came = os.read(self._pipe, 4096)
            if came != _NEW:
                time.sleep(TOGETHER)
                if select.select([self._pipe], [], [], 0)[0]:
                    came += os.read(self._pipe, 4096)
            while not self._new.empty():
                handlers |= self._new.get()
            waiting, missed = missed + came.replace(_NEW, b""), b""
            found: dict[Handler, Number] = {}
            for number in map(Number, waiting):
                if number in handlers:
                    found.setdefault(handlers[number], number)
                else:
                    missed += bytes([number])
            _call(found)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        """Have the system's handler in place, which writes into the pipe."""
        self.seen.append(Number(number))


def _call(found: Mapping[Handler, Number]) -> None:
    """Call handlers, each with the first of its signals."""
    for handler, number in found.items():
        try:
            handler(number)
        except Exception:
            LOG.exception("signal %d could not be obeyed", number)


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
        """Do what :func:`asyncio.run` does; a signal cancels it.

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
            _start_thread(
                "poolmgr-ending", partial(self._end_if_stuck, number)
            )

    def _end_if_stuck(self, number: Number) -> None:
        time.sleep(GRACE)
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


class Ending:
    """How signals end a service: the first gently, the second at once.

    Until :meth:`serves` is called it is at its start, where nothing is lost:
    the first signal ends it at once, too.
    """

    def __init__(self) -> None:
        self._given = False
        self._drain: Callable[[], object] | None = None

    def __call__(self, number: Number) -> None:
        """Take a signal; for :meth:`Signals.on`."""
        again, self._given = self._given, True
        drain = self._drain
        if again:
            _end_at_once(number)
        if drain is None:
            _say(logging.INFO, f"{number.name}: ending before it has served")
            os._exit(0)
        _say(
            logging.INFO,
            f"{number.name}: draining; a second one ends it at once",
        )
        drain()

    def serves(self, drain: Callable[[], object]) -> None:
        """The start is over.

        :param drain: what the first signal does from now on
        """
        self._drain = drain


def _say(level: int, text: str) -> None:
    """Log, but do not hang if who reads the log does."""
    saying = partial(LOG.log, level, "%s", text)
    _start_thread("poolmgr-saying", saying).join(GRACE)


def _end_at_once(number: Number) -> None:
    _say(logging.WARNING, f"{number.name} again: stopping at once")
    os._exit(128 + number)


def _start_thread(name: str, work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread
