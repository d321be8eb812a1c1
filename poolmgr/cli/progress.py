"""How far work has come, on a terminal; nothing at all in a pipe.

Of our own rather than ``rich``: two lines of a kind need none of it, it is no
dependency of poolmgr, and it takes longer to import than most commands run.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from poolmgr.cli.output import Stream
from poolmgr.cli.terminal import is_terminal, size
from poolmgr.text import format_duration

#: Seconds until the line is shown: what is quicker needs none.
PATIENCE = 0.5
#: Seconds between two looks.
_INTERVAL = 0.25
#: Most characters of a bar.
_BAR = 30


@contextmanager
def progress(
    stream: TextIO, text: Callable[[int, float], str], quiet: bool = False
) -> Iterator[None]:
    """Show a line that says how far the work is, while the block runs.

    :param stream: where, if it is a terminal
    :param text: the line, from the columns there are and the seconds that
        have passed; called on another thread
    :param quiet: whether to show nothing in any case
    """
    if quiet or not isinstance(stream, Stream) or not is_terminal(stream):
        yield
        return
    done = threading.Event()
    started = time.monotonic()

    def draw() -> None:
        wait = PATIENCE
        while not done.wait(wait):
            wait = _INTERVAL
            # Some less: a line that is full would be two on some terminals,
            # and so would this one with the "^C" of who breaks it off.
            columns = max(1, size(stream).columns - 3)
            line = text(columns, time.monotonic() - started)
            stream.show(line[:columns])

    thread = threading.Thread(
        target=draw, name="poolmgr-progress", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        stream.show("")


def elapsed(seconds: float) -> str:
    """Seconds that have passed, as ``3m 12s``."""
    return format_duration(int(seconds))


def bar(done: int, total: int, columns: int) -> str:
    """``[####------]``, as wide as there is room; nothing without room.

    :param columns: room that there is for it
    """
    width = min(columns - 2, _BAR)
    if width < 4 or total < 1:
        return ""
    full = width * min(done, total) // total
    return f"[{'#' * full}{'-' * (width - full)}]"
