"""Base classes of the commands, and how they print values."""

import re
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from cliff.columns import FormattableColumn
from cliff.command import Command
from cliff.lister import Lister
from cliff.show import ShowOne
from cliff.utils import terminal_width

from poolmgr.cli.app import PoolmgrApp, Stream
from poolmgr.cli.usage import report_in_one_line
from poolmgr.text import format_duration, one_line

if TYPE_CHECKING:  # loaded only by the commands that need it
    from poolmgr.config.configuration import Configuration

Row = Sequence[Any]
Table = tuple[Sequence[str], Iterable[Any]]

#: Formats for programs, which escape any text by their own rules.
EXACT = ("json", "yaml")


class Age(int):
    """Seconds, which a table shows as "3m 12s"."""


class Cell(FormattableColumn[Any]):
    """A value in a table; unknown values are sorted last."""

    def human_readable(self) -> str:
        """Return the value as one printable line."""
        value = self._value
        if value is None:
            return ""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, Age):
            return format_duration(value)
        return _printable(value)

    def __lt__(self, other: object) -> bool:
        value = other._value if isinstance(other, Cell) else None
        order = value is None, value
        return (self._value is None, self._value) < order


class _Missing(str):
    """An unknown value as an empty text, which is sorted last."""

    def __lt__(self, other: object) -> bool:
        return False

    def __gt__(self, other: object) -> bool:
        return True


def formatted(value: object, format_: str) -> object:
    """Return a value made safe for an output format.

    JSON and YAML have the value itself. The other formats have one printable
    line, which no terminal, shell or spreadsheet evaluates.
    """
    if format_ == "table" and type(value) not in (int, float):
        return Cell(value)
    if isinstance(value, Age):
        return int(value)
    if value is None and format_ in ("shell", "value"):
        return _Missing()
    if format_ in EXACT or value is None or isinstance(value, (int, float)):
        return value
    line = _printable(value)
    if format_ == "shell":
        # cliff puts it in double quotes.
        return re.sub(r"([\\$`])", r"\\\1", line)
    if format_ == "csv" and re.match(r"[=+@-].", line):
        return f"'{line}"  # a spreadsheet would take it for a formula
    return line


def _printable(value: object) -> str:
    """Return a value as one printable line of any length."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return one_line(str(value), longest=len(str(value)))


def _column_name(text: str) -> str:
    """Return the name of a column in the spelling of ``-c``."""
    return text.lower().strip().replace(" ", "_")


class PoolmgrCommand(Command):
    """A command of poolmgr.

    :cvar service: whether it is a service, which logs what it does and
        handles SIGHUP itself
    :cvar columns: the columns of its output, if they are always the same
    :ivar failed: whether the exit code is 1 although there is output
    """

    app: PoolmgrApp
    service = False
    columns: Sequence[str] = ()
    failed = False

    @cached_property
    def configuration(self) -> "Configuration":
        """The options of files, environment and command line.

        :raises ConfigError: a file cannot be read
        """
        from poolmgr.config.configuration import Configuration

        given = self.app.options
        conf = Configuration(given.config_file, given.config_dir)
        if given.driver is not None:
            conf.use("--driver", ("poolmgr", "driver"), given.driver)
        if given.os_cloud is not None:
            conf.use("--os-cloud", ("nova", "cloud"), given.os_cloud)
            # Replaces credentials that are configured.
            conf.use("--os-cloud", ("nova", "auth_url"), "")
        if given.gearman_server:
            servers = ", ".join(given.gearman_server)
            conf.use("--gearman-server", ("gearman", "servers"), servers)
        return conf

    def run(self, parsed_args: Namespace) -> int:
        """Run the command and return the exit code."""
        return int(super().run(parsed_args)) or int(self.failed)

    def say(self, text: str) -> None:
        """Write a line to standard error, unless ``--quiet`` is set."""
        if self.app.options.verbose_level:
            self.app.stdout.flush()
            self.app.stderr.write(f"{self.app.NAME}: {text}\n")

    @contextmanager
    def progress(self, step: Callable[[], str]) -> Iterator[None]:
        """Show what ``step`` returns on a terminal while the block runs."""
        err, wanted = self.app.stderr, self.app.options.verbose_level
        if not (wanted and isinstance(err, Stream) and err.is_terminal()):
            yield
            return
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        started, name = time.monotonic(), self.cmd_name
        interruption = self.app.interruption
        console = Console(file=err.raw, highlight=False)

        class Line:
            def __rich_console__(self, *_options: object) -> Iterator[Text]:
                passed = format_duration(int(time.monotonic() - started))
                words = f"{name} ({passed}): {one_line(step())}"
                # It vanishes before a second signal ends the process.
                if not interruption.at_once:
                    # Ctrl-C prints "^C" into the columns that stay free.
                    yield Text(words[: max(console.width - 3, 1)])

        # Else rich would print what Stream has to escape.
        plain: Any = {"redirect_stdout": False, "redirect_stderr": False}
        live = Live(Line(), console=console, transient=True, **plain)
        try:
            live.start()
            # A second signal ends the process without restoring the cursor.
            console.show_cursor(True)
            # Log lines appear above the progress line.
            err.put = partial(console.out, end="")
            yield
        finally:
            err.put = err.raw.write
            with suppress(OSError):  # the terminal may be gone
                live.stop()

    def get_parser(self, prog_name: str) -> ArgumentParser:
        """Make the command's parser."""
        parser = super().get_parser(prog_name)
        parser.formatter_class = RawDescriptionHelpFormatter
        report_in_one_line(parser)
        if self.columns:
            option = parser._option_string_actions["--column"]
            option.type = _column_name
            option.choices = [*map(_column_name, self.columns)]
        self.add_arguments(parser)
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the command's own arguments."""

    def get_epilog(self) -> str:
        """Return the text at the end of the help.

        cliff's method reads the metadata of every installed package.
        """
        return self._epilog or ""


class PoolmgrShowOne(PoolmgrCommand, ShowOne):
    """A command that shows one resource."""

    def produce_output(
        self, parsed_args: Namespace, column_names: Sequence[str], data: Any
    ) -> int:
        """Print the resource."""
        format_ = parsed_args.formatter
        values = [formatted(value, format_) for value in data]
        names = [str(formatted(name, format_)) for name in column_names]
        if format_ == "shell":  # they are names of variables
            names = [re.sub(r"\W", "_", n, flags=re.ASCII) for n in names]
        return ShowOne.produce_output(self, parsed_args, names, values)


class PoolmgrLister(PoolmgrCommand, Lister):
    """A command that shows a list.

    :cvar empty: the message for an empty list
    :cvar spare: columns that a narrow terminal can omit, the least important
        first
    """

    empty = "nothing to show"
    spare: Sequence[str] = ()

    def produce_output(
        self, parsed_args: Namespace, column_names: Sequence[str], data: Any
    ) -> int:
        """Print the list, or a message that it is empty."""
        given, format_ = parsed_args, parsed_args.formatter
        rows = [[formatted(cell, format_) for cell in row] for row in data]
        if not rows and self.empty and format_ not in EXACT:
            self.say(self.empty)
        if not rows and format_ == "table" and not given.print_empty:
            return 0
        omitted: list[str] = []
        on_screen = format_ == "table" and self.app.stdout.isatty()
        if on_screen and not given.columns:
            fitting = self._choose_columns(column_names, rows, given.max_width)
            given.columns = fitting
            omitted = [name for name in column_names if name not in fitting]
        code = Lister.produce_output(self, given, column_names, rows)
        if omitted:
            names = ", ".join(omitted)
            self.say(f"not shown: {names}; use -c COLUMN or -f json")
        return code

    def _choose_columns(
        self, names: Sequence[str], rows: Sequence[Row], max_width: int
    ) -> list[str]:
        """Return the columns for which a terminal has room.

        cliff would break the cells of all columns into several lines, which
        nobody could read or copy.
        """
        room = max_width or terminal_width() or 80
        widths = {
            column[0]: max(len(str(cell)) for cell in column)
            for column in zip(names, *rows, strict=True)
        }
        for name in self.spare:
            # Each column has a border and two blanks.
            if sum(widths.values()) + 3 * len(widths) + 1 > room:
                widths.pop(name, None)
        return [*widths]
