"""``poolmgr status --watch``: a view of the queues that refreshes itself."""

import asyncio
import os
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from poolmgr.cli.app import Stream
from poolmgr.errors import TransportError
from poolmgr.gearman.admin import FunctionStatus, status
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.text import format_duration, one_line
from poolmgr.worker.signals import Interrupted

#: Width of the view in a pipe or a file.
_PLAIN_WIDTH = 120
#: Seconds that a job server has for its answer, even if the interval is less.
_LEAST_TIMEOUT = 2.0


async def watch(
    out: Stream,
    addresses: Sequence[Address],
    options: ConnectionOptions,
    interval: float,
) -> None:
    """Show the queues of the job servers until cancelled.

    On a terminal the view is refreshed in place, and ``q`` ends it like
    SIGINT; otherwise one view is printed after the other.

    :param interval: seconds between two views
    :raises Interrupted: ``q`` was typed
    """
    # The other servers must not wait long for one that does not answer.
    limit = min(options.connect_timeout, max(interval, _LEAST_TIMEOUT))
    options = replace(options, connect_timeout=limit)
    servers = [_Server(each, options) for each in addresses]
    loop, on_screen = asyncio.get_running_loop(), out.is_terminal()
    console = Console(file=out.raw, width=None if on_screen else _PLAIN_WIDTH)
    view = partial(_view, servers, interval)
    with _screen(console, view) if on_screen else nullcontext() as live:
        while True:
            started = loop.time()
            await asyncio.gather(*(each.ask() for each in servers))
            if live:
                live.refresh()
            else:
                # On a broken pipe, the console would end the process.
                with console.capture() as printed:
                    console.print(view(), "")
                out.write(printed.get())
                out.flush()
            await asyncio.sleep(started + interval - loop.time())


class _Server:
    """A job server and its last answer.

    :ivar functions: the functions and their queues; empty while it is down
    :ivar problem: why there is no answer; empty if there is one
    :ivar down_since: Unix time; 0 while it is up
    """

    def __init__(self, address: Address, options: ConnectionOptions) -> None:
        self._address = address
        self._options = options
        self._asked_at = self.down_since = 0.0
        #: Growth of each function's queue, in jobs a second.
        self._growth: dict[str, float] = {}
        self.functions: Sequence[FunctionStatus] = ()
        self.problem = "asking"

    async def ask(self) -> None:
        """Ask for the queues."""
        before = {each.name: each.queued for each in self.functions}
        was_up, asked_before = not self.problem, self._asked_at
        self._growth, self._asked_at = {}, time.monotonic()
        try:
            self.functions = await status(self._address, self._options)
        except TransportError as error:
            self.down_since = self.down_since or time.time()
            reason = str(error).removeprefix(f"job server {self._address}: ")
            self.functions, self.problem = (), one_line(reason)
            return
        self.problem, self.down_since = "", 0.0
        for each in self.functions if was_up else ():
            grown = each.queued - before.get(each.name, 0)
            self._growth[each.name] = grown / (self._asked_at - asked_before)

    def __rich_console__(self, *_options: object) -> Iterator[RenderableType]:
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
        table.add_column("Function")  # the only column that may be narrowed
        for title in ("Wait", "Run", "Workers", "+/s"):
            table.add_column(title, no_wrap=True, justify="right")
        for each in sorted(self.functions, key=lambda each: each.name):
            growth = self._growth.get(each.name)
            table.add_row(
                _line(one_line(each.name)),
                str(each.queued - each.running),
                str(each.running),
                str(each.workers),
                # "z" turns -0.0 into 0.0.
                "" if growth is None else f"{growth:+z.1f}",
            )
        yield table


def _view(servers: Sequence[_Server], interval: float) -> RenderableType:
    """Return the whole view: totals, and all servers, those down first."""
    down = sum(bool(server.down_since) for server in servers)
    functions = [f for server in servers for f in server.functions]
    running = sum(function.running for function in functions)
    waiting = sum(function.queued for function in functions) - running
    down_text = f"{down} of {len(servers)} down, " if down else ""
    totals = (
        f"{_clock(time.time())} {down_text}{waiting} waiting, {running} "
        f"running (every {interval:g}s)"
    )
    shown = sorted(servers, key=lambda server: not server.down_since)
    return Group(_line(totals, "bold"), *shown)


def _read_keys(loop: asyncio.AbstractEventLoop) -> None:
    typed = os.read(0, 100)
    if not typed:  # end of file
        loop.remove_reader(0)
    if b"q" in typed:
        raise Interrupted(signal.SIGINT)  # the signal itself may be ignored


@contextmanager
def _screen(
    console: Console, view: Callable[[], RenderableType]
) -> Iterator[Live]:
    """Use the terminal's alternate screen; read keys without echo."""
    # After Ctrl-Z the shell would be on the alternate screen.
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    modes, loop = None, asyncio.get_running_loop()
    if sys.stdin.isatty():
        modes = termios.tcgetattr(0)
        tty.setcbreak(0, termios.TCSADRAIN)
        loop.add_reader(0, _read_keys, loop)
    live = Live(console=console, screen=True, get_renderable=view)
    live.start(refresh=True)
    try:
        yield live
    finally:
        # The terminal may be gone.
        with suppress(OSError, termios.error):
            live.stop()
            if modes:
                termios.tcsetattr(0, termios.TCSADRAIN, modes)


def _line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="crop")


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
