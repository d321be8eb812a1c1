"""A thread or a callback of ours that dies ends the process.

It would lack something until somebody notices.  What supervises it starts it
again, and its jobs go to another worker at once.
"""

import contextlib
import logging
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from poolmgr.threads import NoThreads, OwnThread, start_daemon

if TYPE_CHECKING:
    import asyncio

LOG = logging.getLogger(__name__)

#: What the process ends with.
EXIT_DEFECT = 1
#: Seconds that the log may take: who reads it may hang.
PATIENCE = 1.0


def watch_threads() -> None:
    """Have the death of one of our own threads end the process from now on;
    a plugin's own threads do not."""
    usual = threading.excepthook

    def hook(died: threading.ExceptHookArgs) -> None:
        if isinstance(died.thread, OwnThread):
            _end(f"the thread {died.thread.name}", died.exc_value)
        usual(died)

    threading.excepthook = hook


def watch_callbacks(loop: "asyncio.AbstractEventLoop") -> None:
    """Likewise the callbacks of an event loop."""

    def handle(
        loop: "asyncio.AbstractEventLoop", context: dict[str, Any]
    ) -> None:
        # Only what was called by the loop itself has one: what breaks in a
        # connection costs that connection.
        if "handle" in context:
            _end("a callback", context.get("exception"))
        loop.default_exception_handler(context)

    loop.set_exception_handler(handle)


def _end(what: str, error: BaseException | None) -> None:
    tell = partial(
        LOG.critical,
        "%s has died, which is a defect of poolmgr: stopping at once",
        what,
        exc_info=error,
    )
    with contextlib.suppress(NoThreads):
        start_daemon("poolmgr-saying", tell).join(PATIENCE)
    os._exit(EXIT_DEFECT)
