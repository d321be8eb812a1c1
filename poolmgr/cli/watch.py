"""``poolmgr status --watch``: a view to leave open."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from poolmgr.cli.looks import Looks, Seen
from poolmgr.cli.output import Stream
from poolmgr.cli.screen import Screen, key
from poolmgr.cli.terminal import is_terminal, size
from poolmgr.cli.view import fitted, view
from poolmgr.worker.signals import Interrupted, Signals

if TYPE_CHECKING:
    from poolmgr.cli.app import PoolmgrApp

#: Columns of a line that goes into a pipe or a file.
_PLAIN = 120
#: Longest time that a job server may take, in seconds.
PATIENCE = 5.0


def watch(app: "PoolmgrApp", looks: Looks, every: float) -> int:
    """Show how the job servers are, again and again, until a signal.

    On a terminal in one place; else one view after the other.

    :param every: seconds between two looks
    :returns: the exit code: 0 after Ctrl-C or ``q``
    :raises Interrupted: after another signal
    """
    out = app.stdout
    watching = (
        _Watching(out, looks, every).run(app.signals)
        if isinstance(out, Stream) and is_terminal(out)
        else _print(out, looks, every)
    )
    try:
        app.interruption.run(watching)
    except Interrupted as interrupted:
        if interrupted.number != signal.SIGINT:
            raise
    return 0


async def _print(out: TextIO, looks: Looks, every: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        for text, _colour in view(await looks.look(), _PLAIN, every):
            out.write(f"{text.rstrip()}\n")
        out.write("\n")
        out.flush()
        await asyncio.sleep(started + every - loop.time())


class _Watching:
    """A view on a terminal."""

    def __init__(self, out: Stream, looks: Looks, every: float) -> None:
        self._out = out
        self._looks = looks
        self._every = every
        self._screen = Screen(out)
        self._seen: list[Seen] | None = None
        self._ended: asyncio.Future[None]

    async def run(self, signals: Signals | None) -> None:
        """Go on until a key ends it.

        :param signals: those that draw it anew
        """
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        with self._screen:
            if signals is not None:
                # Not the loop's own handlers: it would take all signals.
                signals.on(_soon(loop, self._draw), signal.SIGWINCH)
                signals.on(_soon(loop, self._suspend), signal.SIGTSTP)
            if self._screen.hears:
                loop.add_reader(0, self._typed)
            looking = asyncio.create_task(self._look())
            looking.add_done_callback(self._failed)
            try:
                await self._ended
            finally:
                loop.remove_reader(0)
                looking.cancel()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._draw()
        while True:
            started = loop.time()
            self._seen = await self._looks.look()
            self._draw()
            await asyncio.sleep(started + self._every - loop.time())

    def _draw(self) -> None:
        columns, rows = size(self._out)
        # To erase the rest of a line that is full erases its last character.
        columns = max(columns - 1, 1)
        if self._seen is None:
            self._screen.draw([("asking the job servers"[:columns], "")])
            return
        lines = view(self._seen, columns, self._every)
        self._screen.draw(fitted(lines, columns, rows))

    def _typed(self) -> None:
        typed = key()
        if not typed:  # the end of a file
            asyncio.get_running_loop().remove_reader(0)
        if "q" in typed:
            self._end()

    def _suspend(self) -> None:
        """Ctrl-Z: give the screen back, and take it when we go on."""
        self._screen.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._screen.enter()
        self._draw()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _failed(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._ended.done():
            self._ended.set_exception(error)


def _soon(
    loop: asyncio.AbstractEventLoop, what: Callable[[], None]
) -> Callable[[signal.Signals], None]:
    """What has the loop do something when a signal comes."""

    def come(number: signal.Signals) -> None:
        with contextlib.suppress(RuntimeError):  # it is closed
            loop.call_soon_threadsafe(what)

    return come
