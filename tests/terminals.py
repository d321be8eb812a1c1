"""poolmgr on a terminal, as a person sees it."""

import os
import pty
import select
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyte

from tests import forkserver
from tests.forkserver import Started
from tests.polling import until

TIMEOUT = 120.0


class Terminal:
    """A process on its own terminal.

    :param start: starts it on a terminal with these variables
    :param columns: width of the terminal
    :param rows: height of the terminal
    :param environment: variables; empty ones are unset
    :ivar first_modes: the terminal's input modes before the start
    """

    def __init__(
        self,
        start: Callable[[int, dict[str, str]], Started],
        *,
        columns: int,
        rows: int,
        environment: Mapping[str, str],
    ) -> None:
        self._raw = b""
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        self.first_modes = self.modes
        termios.tcsetwinsize(slave, (rows, columns))
        common = {"TERM": "xterm-256color", **environment}
        variables = {
            k: v
            for k, v in {**os.environ, **common}.items()
            if k not in ("COLUMNS", "LINES") and v
        }
        self._process = start(slave, variables)
        os.close(slave)

    @property
    def lines(self) -> list[str]:
        """Return the visible lines that are not blank."""
        self._read()
        shown = (line.rstrip() for line in self._screen.display)
        return [line for line in shown if line]

    @property
    def text(self) -> str:
        """Return the visible lines as one text."""
        return "\n".join(self.lines)

    @property
    def screen(self) -> pyte.Screen:
        """The characters with colours."""
        self._read()
        return self._screen

    @property
    def raw(self) -> bytes:
        """All output so far."""
        self._read()
        return self._raw

    @property
    def cursor_hidden(self) -> bool:
        """Whether the cursor is hidden."""
        self._read()
        return bool(self._screen.cursor.hidden)

    def wait_for(self, seen: Callable[[], object]) -> None:
        """Wait until a text is visible."""
        try:
            until(seen, TIMEOUT)
        except AssertionError:
            raise AssertionError(f"in vain:\n{self.text}") from None

    @property
    def modes(self) -> list[object]:
        """Return the terminal's input modes."""
        modes: list[object] = termios.tcgetattr(self._master)
        return modes

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    def type(self, text: str) -> None:
        """Type a text; Ctrl-C is ``\\x03``."""
        os.write(self._master, text.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Resize the window."""
        self._read()
        self._screen.resize(rows, columns)
        termios.tcsetwinsize(self._master, (rows, columns))

    def exit_code(self) -> int:
        """Wait for its end and return the exit code."""

        def ended() -> bool:
            # A process that fills the terminal waits until it is read.
            self._read()
            return self._process.poll() is not None

        until(ended, TIMEOUT)
        return self._process.wait()

    def end(self) -> None:
        """Kill it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(TIMEOUT)
        os.close(self._master)

    def _read(self) -> None:
        while select.select([self._master], [], [], 0)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                # No process uses the terminal any more.
                return
            if not data:
                return
            self._raw += data
            self._stream.feed(data)


@contextmanager
def terminal(
    *args: str,
    columns: int = 80,
    rows: int = 24,
    command: Sequence[str] = (),
    environment: Mapping[str, str] = {},
) -> Iterator[Terminal]:
    """Run a command on a terminal.

    :param args: its arguments
    :param command: the command; poolmgr if empty
    :param environment: see :class:`Terminal`
    """

    def start(slave: int, variables: dict[str, str]) -> Started:
        if not command:
            files = (slave, slave, slave)
            return forkserver.start("poolmgr", args, variables, files)
        return subprocess.Popen(
            # Not preexec_fn: other threads may be running.
            ["setsid", "--ctty", *command, *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=variables,
        )

    shown = Terminal(
        start, columns=columns, rows=rows, environment=environment
    )
    try:
        yield shown
    finally:
        shown.end()
