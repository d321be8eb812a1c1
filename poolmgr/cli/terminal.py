"""What goes to a terminal: made harmless; and how far a command is."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TextIO

from poolmgr.text import format_duration, lines, one_line

#: Columns that stay free, for the "^C" of who interrupts the command.
_SPARE = 3


class Stream:
    """A stream on which foreign text cannot reach the terminal's controls.

    :param raw: what is written to
    :ivar put: writes text as it is
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw
        self.put: Callable[[str], object] = raw.write

    def write(self, text: str) -> int:
        """Write text; control characters are escaped."""
        self.put(lines(text))
        return len(text)

    def writelines(self, texts: Iterable[str]) -> None:
        """Write several."""
        self.write("".join(texts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def is_terminal(stream: Stream) -> bool:
    """Whether somebody looks at it, and its cursor can be moved."""
    known = os.environ.get("TERM", "") not in ("", "dumb")
    return known and bool(stream.isatty())


@contextmanager
def show_progress(
    stream: Stream, name: str, step: Callable[[], str]
) -> Iterator[None]:
    """Show a line on a terminal that says how far the work is.

    :param name: the command
    :param step: what it is doing, at this moment
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    started = time.monotonic()
    console = Console(file=stream.raw, highlight=False)

    def draw_line() -> Text:
        passed = format_duration(int(time.monotonic() - started))
        text = Text(f"{name}: {one_line(step())}, {passed}", no_wrap=True)
        text.truncate(max(console.width - _SPARE, 1))
        return text

    live = Live(
        console=console,
        get_renderable=draw_line,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    try:
        with suppress(OSError):  # the terminal may be gone
            live.start()
            # A second signal ends the process with the cursor as it is.
            console.show_cursor(True)
        # What is logged meanwhile comes above the line.
        stream.put = partial(console.out, end="")
        yield
    finally:
        stream.put = stream.raw.write
        with suppress(OSError):
            live.stop()
