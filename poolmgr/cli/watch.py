"""``poolmgr status --watch``: a view to leave open."""

import asyncio
import os
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from poolmgr.cli.app import PoolmgrApp
from poolmgr.cli.terminal import Stream, is_terminal
from poolmgr.errors import TransportError
from poolmgr.gearman import admin
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.text import format_duration, one_line
from poolmgr.worker.signals import Interrupted

#: Columns of a line that goes into a pipe or a file.
_PLAIN = 120

#: Short, so that a small window has room for the function, too.
_COLUMNS = ("Wait", "Run", "Workers", "+/s")


def watch(
    app: PoolmgrApp,
    servers: Sequence[Address],
    options: ConnectionOptions,
    interval: float,
) -> int:
    """Show how the job servers are, again and again, until a signal.

    On a terminal in one place; else one view after the other.

    :param interval: seconds between two updates
    :returns: the exit code: 0 after Ctrl-C or ``q``
    :raises Interrupted: after another signal
    """
    out = app.stdout
    assert isinstance(out, Stream)  # noqa: S101 - it is a process
    asked = [_Server(each, options) for each in servers]
    try:
        app.interruption.run(_follow(out, asked, interval))
    except Interrupted as interrupted:
        if interrupted.number != signal.SIGINT:
            raise
    return 0


async def _follow(
    out: Stream, asked: Sequence["_Server"], interval: float
) -> None:
    """Ask the job servers for ever, and show what they answer."""
    loop, on_screen = asyncio.get_running_loop(), is_terminal(out)
    console = Console(file=out.raw, width=None if on_screen else _PLAIN)
    view = partial(_view, asked, interval)
    if sys.stdin.isatty():
        loop.add_reader(0, _read_keys, loop)
    # No signal comes in the middle of its steps.
    with _screen(console, view) if on_screen else nullcontext() as live:
        while True:
            started = loop.time()
            await asyncio.gather(*(each.ask() for each in asked))
            if live:
                live.refresh()
            else:
                console.print(view(), "")
            await asyncio.sleep(started + interval - loop.time())


class _Server:
    """A job server, as it last answered.

    :ivar functions: what it told; empty if it is down
    :ivar problem: why it told nothing; empty if it did
    :ivar down_since: by the clock; 0 while it is up
    """

    def __init__(self, address: Address, options: ConnectionOptions) -> None:
        self._address = address
        self._options = options
        self._asked_at = self.down_since = 0.0
        #: By how many jobs a second each function has grown.
        self._growth: dict[str, float] = {}
        self.functions: Sequence[admin.FunctionStatus] = ()
        self.problem = "asking"

    async def ask(self) -> None:
        """Ask it."""
        before = {each.name: each.queued for each in self.functions}
        was_up, asked_before = not self.problem, self._asked_at
        self._growth, self._asked_at = {}, time.monotonic()
        try:
            self.functions = await admin.status(self._address, self._options)
        except TransportError as error:
            self.down_since = self.down_since or time.time()
            said = str(error).removeprefix(f"job server {self._address}: ")
            self.functions, self.problem = (), one_line(said)
            return
        self.problem, self.down_since = "", 0.0
        for each in self.functions if was_up else ():
            grown = each.queued - before.get(each.name, 0)
            self._growth[each.name] = grown / (self._asked_at - asked_before)

    def __rich_console__(self, *_how: object) -> Iterator[RenderableType]:
        if self.down_since:
            down = format_duration(int(time.time() - self.down_since))
            since = f"{_clock(self.down_since)} ({down})"
            yield _line(f"{self._address} DOWN since {since}", "bold red")
        else:
            yield _line(str(self._address), "bold")
        if not self.functions:
            nothing = "no functions: no worker is connected"
            yield _line(f"  {self.problem or nothing}")
            return
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("Function")  # the only one that becomes narrower
        for title in _COLUMNS:
            table.add_column(title, no_wrap=True, justify="right")
        for each in sorted(self.functions, key=lambda each: each.name):
            growth = self._growth.get(each.name)
            table.add_row(
                _line(one_line(each.name)),
                str(each.queued - each.running),
                str(each.running),
                str(each.workers),
                "" if growth is None else f"{growth:+z.1f}",
            )
        yield table


def _view(servers: Sequence[_Server], interval: float) -> RenderableType:
    """All that is to be seen."""
    down = sum(bool(server.down_since) for server in servers)
    functions = [f for server in servers for f in server.functions]
    running = sum(function.running for function in functions)
    waiting = sum(function.queued for function in functions) - running
    words = f"{down} of {len(servers)} down, " if down else ""
    first = (
        f"{_clock(time.time())} {words}{waiting} waiting, {running} "
        f"running (every {interval:g}s)"
    )
    return Group(_line(first, "bold"), *servers)


def _read_keys(loop: asyncio.AbstractEventLoop) -> None:
    typed = os.read(0, 100)
    if not typed:  # the end of a file
        loop.remove_reader(0)
    if b"q" in typed:
        signal.raise_signal(signal.SIGINT)


@contextmanager
def _screen(
    console: Console, view: Callable[[], RenderableType]
) -> Iterator[Live]:
    """Have the whole screen, and nothing on it of what is typed."""
    # Ctrl-Z would leave the shell with this screen.
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    modes = termios.tcgetattr(0) if sys.stdin.isatty() else None
    if modes:
        tty.setcbreak(0, termios.TCSADRAIN)
    live = Live(console=console, screen=True, get_renderable=view)
    live.start(refresh=True)
    try:
        yield live
    finally:
        # It may be gone: who closed the window wants nothing back.
        with suppress(OSError, termios.error):
            live.stop()
            if modes:
                termios.tcsetattr(0, termios.TCSADRAIN, modes)


def _line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="crop")


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
