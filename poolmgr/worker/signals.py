"""What signals do to the process, and what ends it.

Handlers run on the main thread, between two of Python's steps or in a call of
the system that waits: also when an event loop hangs there.  They log on
another thread, because the log may be what hangs.
"""

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from types import FrameType
from typing import Any, TypeVar

LOG = logging.getLogger(__name__)

Number = signal.Signals
Handler = Callable[[Number], object]
T = TypeVar("T")

#: What is said of a command that a signal has ended.
EARLY = "ended early"
#: What ends a command; blocked until :func:`handle` says how.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: What the process ends with when a callback of its own has failed.
EXIT_DEFECT = 1
#: Seconds that a log line has to be written.
_LOG_TIME = 1.0
#: Seconds that tasks have to end once they are cancelled.
_END_TIME = 1.0
#: Seconds within which signals are one: Ctrl-C reaches a command, and its
#: supervisor, which sends it SIGTERM.
TOGETHER = 0.05


def handle(handler: Handler, *numbers: Number) -> None:
    """Have signals do something from now on; also one that came while they
    were blocked."""

    def call(number: int, _frame: FrameType | None) -> None:
        handler(Number(number))

    for number in numbers:
        signal.signal(number, call)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


class Ending:
    """How signals end the process: the first gently, the next at once.

    :param gently: what the first does
    :ivar number: the first; None while there was none
    """

    def __init__(self, gently: Handler) -> None:
        self.number: Number | None = None
        self.gently = gently
        self._at = 0.0

    def __call__(self, number: Number) -> None:
        """Take a signal; for :func:`handle`."""
        if self.number is None:
            self.number, self._at = number, time.monotonic()
            self.gently(number)
        elif time.monotonic() - self._at > TOGETHER:
            self._at = math.inf  # those that come meanwhile change nothing
            say(logging.WARNING, f"{number.name} again: stopping at once")
            os._exit(128 + number)


class Interrupted(KeyboardInterrupt):
    """A signal ends the command.

    :ivar number: the signal
    :ivar said: what became of the work, for the line that tells of it
    """

    def __init__(self, number: Number) -> None:
        super().__init__()
        self.number = number
        self.said = EARLY


class Interruption(Ending):
    """How signals end a command: by an exception, once, on the main thread.

    :ivar left: tasks that have not ended when they were cancelled; only
        :func:`os._exit` ends a process without a word of them
    """

    def __init__(self) -> None:
        super().__init__(self._interrupt)
        self.left: set[object] = set()
        self._held = False
        self._cancel: Callable[[], object] | None = None

    def hold(self) -> None:
        """Raise nothing from now on, but by :meth:`run`.

        For work that must not be left in the middle of a step.
        """
        self._held = True

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Do what :func:`asyncio.run` does; a signal cancels it.

        A task that does not end when it is cancelled, as a plugin's may, is
        left; asyncio would wait for it for ever.

        :raises Interrupted: one has
        """
        import asyncio  # most commands do without

        async def cancellable() -> T:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None  # noqa: S101 - we are in one
            self._cancel = partial(loop.call_soon_threadsafe, task.cancel)
            try:
                self._check()
                return await main
            finally:
                self._cancel = None
                main.close()
                self.left.update(await _end_tasks())

        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(cancellable())
        except asyncio.CancelledError:
            self._check()
            raise
        finally:
            loop.close()

    def _check(self) -> None:
        if self.number is not None:
            raise Interrupted(self.number)

    def _interrupt(self, number: Number) -> None:
        if self._cancel is not None:
            self._cancel()
        elif not self._held:
            raise Interrupted(number)


async def _end_tasks() -> set[Any]:
    """Cancel all other tasks; those that do not end within a second.

    One of a plugin may not, nor one that waits for a call that hangs, and
    asyncio would wait for it for ever.
    """
    import asyncio

    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if not tasks:
        return set()
    _ended, left = await asyncio.wait(tasks, timeout=_END_TIME)
    return left


def say(level: int, text: str) -> None:
    """Log, but do not hang if who reads the log does."""
    saying = partial(LOG.log, level, "%s", text)
    thread = threading.Thread(target=saying, daemon=True)
    thread.start()
    thread.join(_LOG_TIME)


def end_on_defects() -> None:
    """Have a callback that fails end the process from now on.

    It would lack something until somebody notices.  What supervises it starts
    it again, and its jobs go to another worker at once.
    """
    import asyncio

    def end(loop: Any, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        # Only what was called by the loop itself has one: what breaks in a
        # connection costs that connection.
        if "handle" in context:
            LOG.critical(
                "an internal callback failed (a bug in poolmgr): "
                "stopping at once"
            )
            os._exit(EXIT_DEFECT)

    asyncio.get_running_loop().set_exception_handler(end)
