"""What the commands have in common, and how they show values."""

import re
from argparse import (
    ArgumentParser,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from cliff.columns import FormattableColumn
from cliff.command import Command
from cliff.lister import Lister
from cliff.show import ShowOne
from cliff.utils import terminal_width

from poolmgr.cli.app import PoolmgrApp
from poolmgr.cli.terminal import Stream, is_terminal, show_progress
from poolmgr.cli.usage import report_in_one_line, require_columns
from poolmgr.text import format_duration, one_line

if TYPE_CHECKING:  # what only some commands load
    from poolmgr.config.configuration import Configuration

Row = Sequence[Any]
Table = tuple[Sequence[str], Iterable[Any]]

#: Formats for programs: they write down any text by their own rules.
EXACT = ("json", "yaml")


class Age(int):
    """Seconds, in a table as "3m 12s"."""


class Cell(FormattableColumn[Any]):
    """A value in a table for people; unknown ones are sorted last."""

    def human_readable(self) -> str:
        """The value as one printable line."""
        value = self._value
        if value is None:
            return ""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, Age):
            return format_duration(value)
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        return _whole_line(value)

    def __lt__(self, other: object) -> bool:
        value = other._value if isinstance(other, Cell) else None
        order = value is None, value
        return (self._value is None, self._value) < order


def shown(value: object, format_: str) -> object:
    """A value as one of cliff's formatters takes it: nothing in it acts.

    JSON and YAML have it as it is. Elsewhere it is one printable line, and in
    a shell or a spreadsheet nothing in it is evaluated.
    """
    if isinstance(value, Age) and format_ != "table":
        return int(value)
    if type(value) in (int, float) or format_ in EXACT:
        return value
    if format_ == "table":
        return Cell(value)
    if value is None or isinstance(value, bool):
        return value
    line = _whole_line(value)
    if format_ == "shell":
        return re.sub(r"([\\$`])", r"\\\1", line)
    if format_ == "csv" and re.match(r"[=+@-].", line):
        return f"'{line}"  # else a spreadsheet takes it for a formula
    return line


def _whole_line(value: object) -> str:
    return one_line(str(value), longest=len(str(value)))


class PoolmgrCommand(Command):
    """A command of poolmgr.

    :cvar service: whether it is a service, whose log is its voice and which
        says itself what SIGHUP does
    :cvar columns: those of its output, if they are known beforehand
    :ivar failed: whether its exit code is 1 although it shows something
    """

    app: PoolmgrApp
    service = False
    columns: Sequence[str] = ()
    failed = False

    @property
    def configuration(self) -> "Configuration":
        """What the files and the global options say."""
        return self.app.configuration

    def run(self, parsed_args: Namespace) -> int:
        """Run it; columns that do not exist are refused beforehand."""
        if self.columns:
            require_columns(parsed_args.columns, self.columns)
        return int(super().run(parsed_args)) or int(self.failed)

    def say(self, said: str) -> None:
        """Tell the person; data goes to standard output alone."""
        if self.app.options.verbose_level:
            self.app.stdout.flush()
            self.app.stderr.write(f"{self.app.NAME}: {said}\n")

    def progress(
        self, step: Callable[[], str]
    ) -> AbstractContextManager[None]:
        """Show how far it is while the block runs, on a terminal; see
        :func:`~poolmgr.cli.terminal.show_progress`."""
        err, wanted = self.app.stderr, self.app.options.verbose_level
        if wanted and isinstance(err, Stream) and is_terminal(err):
            return show_progress(err, self.cmd_name or "", step)
        return nullcontext()

    def get_parser(self, prog_name: str) -> ArgumentParser:
        """A parser whose complaints are one line."""
        parser = super().get_parser(prog_name)
        parser.formatter_class = RawDescriptionHelpFormatter
        report_in_one_line(parser)
        self.add_arguments(parser)
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the command's own arguments."""

    def get_epilog(self) -> str:
        """Nothing: cliff looks through every package on the machine for
        what it would say there."""
        return self._epilog or ""


class PoolmgrShowOne(PoolmgrCommand, ShowOne):
    """A command that shows one resource."""

    def produce_output(
        self, parsed_args: Namespace, column_names: Sequence[str], data: Any
    ) -> int:
        """Print it."""
        format_ = parsed_args.formatter
        values = [shown(value, format_) for value in data]
        names = [str(shown(name, format_)) for name in column_names]
        if format_ == "shell":  # they are names of variables
            names = [re.sub(r"\W", "_", n, flags=re.ASCII) for n in names]
        return super().produce_output(parsed_args, names, values)


class PoolmgrLister(PoolmgrCommand, Lister):
    """A command that shows a list.

    :cvar empty: what to say of an empty list
    :cvar spare: columns that a table on a terminal can do without where there
        is no room for all; the first goes first
    """

    empty = "nothing to show"
    spare: Sequence[str] = ()

    def produce_output(
        self, parsed_args: Namespace, column_names: Sequence[str], data: Any
    ) -> int:
        """Print it, or say that there is nothing."""
        given, format_ = parsed_args, parsed_args.formatter
        rows = [[shown(cell, format_) for cell in row] for row in data]
        if not rows and self.empty and format_ not in EXACT:
            self.say(self.empty)
        if not rows and format_ == "table" and not given.print_empty:
            return 0
        on_screen = format_ == "table" and self.app.stdout.isatty()
        if not rows or not on_screen or given.columns:
            return super().produce_output(given, column_names, rows)
        given.columns = self._fitting(column_names, rows, given.max_width)
        code = super().produce_output(given, column_names, rows)
        left_out = [n for n in column_names if n not in given.columns]
        if left_out:
            names = ", ".join(left_out)
            self.say(f"not shown: {names}; use -c COLUMN or -f json")
        return code

    def _fitting(
        self, names: Sequence[str], rows: Sequence[Row], max_width: int
    ) -> list[str]:
        """The columns that a terminal has room for.

        cliff would break the cells of all columns over several lines, and
        nobody could read or copy them.
        """
        room = max_width or terminal_width() or 80
        widths = {
            name: max(len(name), *(len(str(row[at])) for row in rows))
            for at, name in enumerate(names)
        }
        for name in self.spare:
            # Each column has a line and a blank before it, a blank behind.
            if sum(widths.values()) + 3 * len(widths) + 1 > room:
                widths.pop(name, None)
        return [*widths]
