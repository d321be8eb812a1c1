"""How far a command is, on a terminal; nothing at all in a pipe."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from poolmgr.cli.output import Stream
from poolmgr.text import format_duration, one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Seconds until the line is shown: what is quicker needs none.
DELAY = 0.5
#: Columns that stay free, for the "^C" of who interrupts the command.
_SPARE = 3
#: Most columns of a bar.
_BAR = 30


@contextmanager
def show_progress(
    stream: TextIO,
    name: str,
    step: Callable[[], str],
    bar: Callable[[], tuple[int, int]] | None = None,
) -> Iterator[None]:
    """Show a line that says how far the work is, while the block runs.

    :param stream: where, if it is a terminal
    :param name: the command
    :param step: what it is doing, at this moment
    :param bar: how much of it is done, and how much there is
    """
    if not isinstance(stream, Stream) or not stream.is_terminal:
        yield
        return
    started = time.monotonic()

    def line(columns: int) -> "RenderableType":
        seconds = int(time.monotonic() - started)
        text = f"{one_line(step())}, {format_duration(seconds)}"
        return _line(name, text, bar and bar(), columns - _SPARE)

    with ExitStack() as shown:
        timer = threading.Timer(DELAY, _show, (stream, line, shown))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _show(
    stream: Stream, line: "Callable[[int], RenderableType]", shown: ExitStack
) -> None:
    from rich.console import Console
    from rich.live import Live

    class Terminal(Console):
        def show_cursor(self, show: bool = True) -> bool:
            """Leave it: a second signal ends the process at once."""
            return False

    console = Terminal(file=stream.raw, highlight=False)
    shown.enter_context(suppress(OSError))  # the terminal may be gone
    shown.enter_context(
        Live(
            console=console,
            get_renderable=lambda: line(console.width),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
    )
    shown.enter_context(stream.printing_with(console.out))


def _line(
    name: str, text: str, done: tuple[int, int] | None, columns: int
) -> "RenderableType":
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    if done is None or columns < 2 * _BAR:
        line = Text(f"{name}: {text}", no_wrap=True)
        line.truncate(max(columns, 1))
        return line
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column()
    table.add_column(no_wrap=True, overflow="crop", max_width=columns - _BAR)
    table.add_row(f"{name}:", ProgressBar(done[1], done[0], _BAR), Text(text))
    return table
