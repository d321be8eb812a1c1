"""A terminal's whole screen, lent and given back."""

import contextlib
import os
import sys
import termios
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from poolmgr.cli.output import Stream
from poolmgr.cli.terminal import has_colours
from poolmgr.cli.view import Line

# The second screen, without a cursor; and back to the first.
_ENTER = "\x1b[?1049h\x1b[?25l"
_LEAVE = "\x1b[?25h\x1b[?1049l"


class Screen:
    """The screen; with ``with``, what was there before comes back.

    What is typed meanwhile is not shown. Ctrl-C does what it always does.

    :param stream: the terminal
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._typing: list[Any] | None = None

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # It may be gone: who closed the window wants nothing back.
        with contextlib.suppress(OSError):
            self.leave()

    @property
    def hears(self) -> bool:
        """Whether what is typed on the terminal comes here."""
        return self._typing is not None

    def enter(self) -> None:
        """Take the screen."""
        self._typing = _silent()
        self._put(_ENTER)

    def leave(self) -> None:
        """Give it back as it was."""
        if self._typing is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(0, termios.TCSADRAIN, self._typing)
        self._put(_LEAVE)

    def draw(self, lines: Sequence[Line]) -> None:
        """Have these lines there and nothing else; they have to fit."""
        coloured = has_colours(self._stream)
        drawn = [
            f"\x1b[{colour}m{text}\x1b[0m" if colour and coloured else text
            for text, colour in lines
        ]
        # Each over what was there, so that nothing flickers.
        self._put("\x1b[H" + "\x1b[K\r\n".join(drawn) + "\x1b[K\x1b[J")

    def _put(self, text: str) -> None:
        self._stream.control(text)
        self._stream.flush()


def key() -> str:
    """What was typed, if anything was; empty at the end of the input."""
    try:
        return os.read(sys.stdin.fileno(), 64).decode("ascii", "replace")
    except OSError:
        return ""


def _silent() -> list[Any] | None:
    """Have the terminal neither show what is typed nor wait for a line.

    :returns: how it was; None if standard input is no terminal
    """
    try:
        before: list[Any] = termios.tcgetattr(0)
        now = [*before]
        now[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(0, termios.TCSADRAIN, now)
    except termios.error:
        return None
    return before
