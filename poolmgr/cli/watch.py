"""``poolmgr status --watch``: a view to leave open."""

import asyncio
import os
import signal
from typing import TextIO

from poolmgr.cli.looks import Looks, Seen
from poolmgr.cli.output import Stream
from poolmgr.cli.screen import Screen, key
from poolmgr.cli.terminal import is_terminal, size
from poolmgr.cli.view import fitted, view
from poolmgr.gearman import Address, LinkOptions

#: Columns of a line that goes into a pipe or a file.
_PLAIN = 120
#: Longest time that a job server may take, in looks.
_PATIENCE = 5.0


def watch(
    out: TextIO, servers: list[Address], options: LinkOptions, every: float
) -> int:
    """Show how the job servers are, again and again, until a signal.

    On a terminal in one place; else one view after the other.

    :param out: where to
    :param every: seconds between two looks
    :returns: the exit code: 0 after Ctrl-C or ``q``
    """
    looks = Looks(servers, options, min(options.connect_timeout, _PATIENCE))
    try:
        if isinstance(out, Stream) and is_terminal(out):
            return asyncio.run(_Watching(out, looks, every).run())
        asyncio.run(_print(out, looks, every))
    except KeyboardInterrupt:
        pass
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
        self._ended: asyncio.Future[int]

    async def run(self) -> int:
        """Go on until a signal or a key ends it."""
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        with self._screen:
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self._end, 128 + number)
            loop.add_signal_handler(signal.SIGINT, self._end, 0)
            loop.add_signal_handler(signal.SIGWINCH, self._draw)
            loop.add_signal_handler(signal.SIGTSTP, self._suspend)
            if self._screen.hears:
                loop.add_reader(0, self._typed)
            looking = asyncio.create_task(self._look())
            looking.add_done_callback(self._failed)
            try:
                return await self._ended
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
            self._end(0)

    def _suspend(self) -> None:
        """Ctrl-Z: give the screen back, and take it when we go on."""
        self._screen.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._screen.enter()
        self._draw()

    def _end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)

    def _failed(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._ended.done():
            self._ended.set_exception(error)
