"""``poolmgr status --watch``: a view to leave open."""

import asyncio
import contextlib
import os
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.segment import SegmentLines
from rich.table import Table
from rich.text import Text

from poolmgr.cli.looks import Looks, Seen
from poolmgr.cli.output import Stream
from poolmgr.text import format_duration, one_line
from poolmgr.worker.signals import Interrupted

if TYPE_CHECKING:
    from poolmgr.cli.app import PoolmgrApp

#: Columns of a line that goes into a pipe or a file.
_PLAIN = 120
#: Columns from which on there is room for whole words.
_ROOM = 60
#: Longest time that a job server may take, in seconds.
LONGEST_ANSWER = 5.0

#: What Ctrl-Z types.
_SUSPEND = "\x1a"

_LONG = ("Function", "Waiting", "Running", "Workers", "Change/s")
_SHORT = ("Function", "Wait", "Run", "Work", "+-/s")


def watch(app: "PoolmgrApp", looks: Looks, every: float) -> int:
    """Show how the job servers are, again and again, until a signal.

    On a terminal in one place; else one view after the other.

    :param every: seconds between two looks
    :returns: the exit code: 0 after Ctrl-C or ``q``
    :raises Interrupted: after another signal
    """
    out = app.stdout
    assert isinstance(out, Stream)  # noqa: S101 - it is a process
    view = _View(looks, every)
    if out.is_terminal:
        watching = _on_terminal(view, Console(file=out.raw), app)
    else:
        watching = _print(view, Console(file=out.raw, width=_PLAIN))
    try:
        app.interruption.run(watching)
    except Interrupted as interrupted:
        if interrupted.number != signal.SIGINT:
            raise
    return 0


class _View:
    """What is to be seen.

    :param every: seconds between two looks
    """

    def __init__(self, looks: Looks, every: float) -> None:
        self._looks = looks
        self._every = every
        self._seen: list[Seen] | None = None

    async def follow(self, then: Callable[[], object]) -> None:
        """Look again and again; for ever.

        :param then: called after each look
        """
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            self._seen = await self._looks.look()
            then()
            await asyncio.sleep(started + self._every - loop.time())

    def show(self, columns: int) -> RenderableType:
        """All of it, for a screen so wide."""
        if self._seen is None:
            return Text("asking the job servers")
        now = time.time()
        first = f"{_clock(now)} {_total(self._seen)} (every {self._every:g}s)"
        shown: list[RenderableType] = [_line(first, "bold")]
        for server in self._seen:
            shown += [Text(""), *_server(server, columns, now)]
        return Group(*shown)

    def fit(self, console: Console) -> RenderableType:
        """As much of it as there is room for; the last line says how much
        is missing."""
        columns, rows = console.size
        options = console.options.update(width=columns)
        lines = console.render_lines(self.show(columns), options, pad=False)
        if len(lines) > rows:  # do without the empty lines
            lines = [line for line in lines if any(s.text for s in line)]
        if len(lines) > rows:
            more = f"({len(lines) - rows + 1} more)"
            lines = [
                *lines[: rows - 1],
                *console.render_lines(_line(more), options, pad=False),
            ]
        return SegmentLines(lines, new_lines=True)


async def _print(view: _View, console: Console) -> None:
    def show() -> None:
        console.print(view.show(_PLAIN), "")

    await view.follow(show)


async def _on_terminal(
    view: _View, console: Console, app: "PoolmgrApp"
) -> None:
    """Go on until ``q`` is typed; Ctrl-Z gives the terminal back."""
    loop = asyncio.get_running_loop()
    keys: asyncio.Queue[str] = asyncio.Queue()

    def suspend(number: signal.Signals) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(keys.put_nowait, _SUSPEND)

    if app.signals is not None:
        # Not the loop's own handlers: it would take all signals.
        app.signals.on(suspend, signal.SIGTSTP)
    live = Live(
        console=console,
        screen=True,
        get_renderable=lambda: view.fit(console),
        redirect_stdout=False,
        redirect_stderr=False,
    )
    following = asyncio.create_task(view.follow(live.refresh))
    while not following.done():
        with _screen(live), _typing(keys):
            typed = asyncio.create_task(keys.get())
            await asyncio.wait(
                {following, typed}, return_when=asyncio.FIRST_COMPLETED
            )
        if typed.done() and typed.result() == "q":
            return
        if typed.done() and typed.result() == _SUSPEND:
            os.kill(os.getpid(), signal.SIGSTOP)
    await following


@contextlib.contextmanager
def _screen(live: Live) -> Iterator[None]:
    live.start(refresh=True)
    try:
        yield
    finally:
        # It may be gone: who closed the window wants nothing back.
        with contextlib.suppress(OSError):
            live.stop()


@contextlib.contextmanager
def _typing(keys: "asyncio.Queue[str]") -> Iterator[None]:
    """Have what is typed in a queue, and not on the screen."""
    if not sys.stdin.isatty():
        yield
        return
    loop = asyncio.get_running_loop()

    def read() -> None:
        typed = os.read(0, 1).decode("ascii", "replace")
        if typed:
            keys.put_nowait(typed)
        else:  # the end of a file
            loop.remove_reader(0)

    before = termios.tcgetattr(0)
    tty.setcbreak(0, termios.TCSADRAIN)
    loop.add_reader(0, read)
    try:
        yield
    finally:
        loop.remove_reader(0)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(0, termios.TCSADRAIN, before)


def _server(seen: Seen, columns: int, now: float) -> Iterator[RenderableType]:
    if seen.problem:
        since = _clock(now - seen.down)
        down = format_duration(int(seen.down))
        yield _line(f"{seen.server} DOWN since {since} ({down})", "bold red")
        yield _line(f"  {seen.problem}")
        return
    yield _line(str(seen.server), "bold")
    if not seen.functions:
        yield _line("  no functions: no worker is connected")
        return
    wide = columns >= _ROOM
    table = Table(box=None, pad_edge=False, padding=(0, 1 + wide, 0, 0))
    titles = _LONG if wide else _SHORT
    table.add_column(titles[0])  # the only one that becomes narrower
    for title in titles[1:]:
        table.add_column(title, no_wrap=True, justify="right")
    for function in seen.functions:
        change = seen.change(function)
        table.add_row(
            _line(one_line(function.name)),
            str(function.queued - function.running),
            str(function.running),
            str(function.workers),
            # Without the "-" that a small number would have before its 0.0.
            "" if change is None else f"{round(change, 1) + 0.0:+.1f}",
        )
    yield Padding(table, (0, 0, 0, 2), expand=False)


def _line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="crop")


def _total(servers: Sequence[Seen]) -> str:
    functions = [f for server in servers for f in server.functions]
    down = sum(bool(server.problem) for server in servers)
    words = f"{down} of {len(servers)} down, " if down else ""
    running = sum(function.running for function in functions)
    waiting = sum(function.queued for function in functions) - running
    return f"{words}{waiting} waiting, {running} running"


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
