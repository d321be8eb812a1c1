"""Signal handlers, and how the process ends.

Python runs signal handlers on the main thread, between two instructions or
inside a blocking system call, so they work while an event loop hangs.  They
log on another thread, because the hanging call may be a write to the log.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

LOG = logging.getLogger(__name__)

Number = signal.Signals
Handler = Callable[[Number], object]
T = TypeVar("T")

#: The signals that end a command; blocked until :func:`handle` is called.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds that a signal handler waits for its log line to be written.
_LOG_TIMEOUT = 1.0
#: Seconds that cancelled tasks have to end.
_CANCEL_TIMEOUT = 1.0
#: Seconds within which several signals count as one.  Ctrl-C in a terminal
#: reaches the process and its supervisor, which then sends SIGTERM as well.
TOGETHER = 0.05


def handle(handler: Handler, *numbers: Number) -> None:
    """Install a signal handler and unblock its signals.

    :param handler: called with each signal, including one that arrived while
        it was blocked
    """
    for each in numbers:
        signal.signal(each, lambda number, _frame: handler(Number(number)))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


class Ending:
    """A handler for signals that end the process.

    The first signal ends it gracefully, the next one at once.

    :param gently: called with the first signal
    :ivar number: the first signal; None until it arrives
    :ivar at_once: whether a later signal ends the process now
    """

    def __init__(self, gently: Handler) -> None:
        self.number: Number | None = None
        self.gently = gently
        self.at_once = False
        self._at = 0.0

    def __call__(self, number: Number) -> None:
        """Handle a signal."""
        if self.number is None:
            self.number, self._at = number, time.monotonic()
            self.gently(number)
        elif not self.at_once and time.monotonic() - self._at > TOGETHER:
            self.at_once = True  # ignore further signals during the log call
            say(logging.WARNING, f"{number.name} again: stopping at once")
            os._exit(128 + number)


class Interrupted(KeyboardInterrupt):
    """A signal has ended the command.

    :ivar number: the signal
    :ivar detail: the state of the work, for the command's last line
    """

    def __init__(self, number: Number) -> None:
        super().__init__()
        self.number = number
        self.detail = "ended early"


class Interruption(Ending):
    """A handler that ends a command with :exc:`Interrupted`.

    It is raised once, on the main thread.

    :ivar left: the tasks that did not end after they were cancelled.  If
        there are any, end the process with :func:`os._exit`: otherwise
        asyncio complains about them.
    """

    def __init__(self) -> None:
        super().__init__(self._interrupt)
        self.left: set[Any] = set()
        self._held = False
        self._cancel: Callable[[], object] | None = None

    def hold(self) -> None:
        """Raise nothing from now on, except from :meth:`run`.

        For work that must not be interrupted between two steps.
        """
        self._held = True

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on a new event loop; a signal cancels it.

        :func:`asyncio.run` would wait for ever for a task that ignores its
        cancellation, such as a plugin's; this leaves it in :attr:`left`.

        :raises Interrupted: a signal has cancelled it
        """
        import asyncio  # most commands do not need it

        loop = asyncio.new_event_loop()
        task = loop.create_task(main)
        self._cancel = partial(loop.call_soon_threadsafe, task.cancel)
        # The signal may have come before there was a task.
        if self.number is not None:
            task.cancel()
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            if self.number is None:
                raise
            raise Interrupted(self.number) from None
        finally:
            self._cancel = None
            tasks = asyncio.all_tasks(loop)
            for each in tasks:
                each.cancel()
            if tasks:
                ending = asyncio.wait(tasks, timeout=_CANCEL_TIMEOUT)
                _ended, left = loop.run_until_complete(ending)
                self.left |= left
            loop.close()

    def _interrupt(self, number: Number) -> None:
        if self._cancel is not None:
            self._cancel()
        elif not self._held:
            raise Interrupted(number)


def say(level: int, text: str) -> None:
    """Log a line from a signal handler, without waiting for a log that
    hangs."""
    log = partial(LOG.log, level, "%s", text)
    thread = threading.Thread(target=log, daemon=True)
    thread.start()
    thread.join(_LOG_TIMEOUT)


def end_on_defects() -> None:
    """End the process as soon as a callback of the event loop fails.

    The worker might otherwise go on without a part of itself.  A supervisor
    restarts it, and the job servers hand its jobs to other workers at once.
    """
    import asyncio

    def end(loop: Any, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        # Only failures of callbacks have a handle.  Other failures, such as
        # those in a protocol, end no more than their connection.
        if "handle" in context:
            LOG.critical(
                "an internal callback failed (a bug in poolmgr): "
                "stopping at once"
            )
            os._exit(1)

    asyncio.get_running_loop().set_exception_handler(end)
