"""What the commands have in common, and how they show values."""

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TextIO

from cliff.command import Command
from cliff.display import DisplayCommandBase
from cliff.lister import Lister
from cliff.show import ShowOne
from cliff.utils import terminal_width

from poolmgr.cli.app import PoolmgrApp
from poolmgr.cli.terminal import Stream, is_terminal, show_progress
from poolmgr.cli.usage import prepare, require_columns
from poolmgr.text import format_duration, one_line

if TYPE_CHECKING:  # what only some commands load
    from poolmgr.cloud import BlockingCloud
    from poolmgr.config.configuration import Configuration

Row = Sequence[Any]
Table = tuple[Sequence[str], Iterable[Any]]

#: Formats for programs: they write down any text by their own rules.
EXACT = ("json", "yaml")

# What spreadsheets take for the beginning of a formula.
_FORMULA = re.compile(r"[=+@-].")


class Age(int):
    """Seconds, in a table as "3m 12s"."""


def age(seconds: int | None) -> Age | None:
    """An age for a table; None if it is not known."""
    return None if seconds is None else Age(seconds)


def text(value: object) -> str | None:
    """A text from elsewhere, in one line; None if it is missing.

    What should be a text and is not is shown as Python writes it.
    """
    return None if value is None else one_line(str(value))


class Harmless:
    """One of cliff's formatters, with cells in which nothing acts by itself.

    JSON and YAML have a cell as it is. Elsewhere it is one printable line,
    and in a shell or a spreadsheet nothing in it is evaluated.

    :param formatter: cliff's
    :param format_: its name
    :param spare: columns that a table on a terminal can do without where there
        is no room for all; the first goes first
    :ivar left_out: those that there was no room for
    """

    def __init__(
        self, formatter: Any, format_: str, spare: Sequence[str]
    ) -> None:
        self._formatter = formatter
        self._format = format_
        self._spare = spare
        self.left_out: list[str] = []

    def emit_list(
        self,
        names: Sequence[str],
        rows: Iterable[Row],
        out: TextIO,
        given: argparse.Namespace,
    ) -> None:
        """Write a list."""
        shown = [*map(self._name, names)]
        made = [[*map(self._cell, row)] for row in rows]
        on_screen = self._format == "table" and out.isatty()
        if on_screen and made and not given.columns:
            room = given.max_width or terminal_width() or 80
            self._leave_out(shown, made, room)
        self._formatter.emit_list(shown, made, out, given)

    def emit_one(
        self,
        names: Sequence[str],
        values: Row,
        out: TextIO,
        given: argparse.Namespace,
    ) -> None:
        """Write one thing."""
        made = [*map(self._cell, values)]
        self._formatter.emit_one([*map(self._name, names)], made, out, given)

    def _leave_out(
        self, names: list[str], rows: list[list[object]], room: int
    ) -> None:
        """Leave columns out until there is room for the others.

        cliff would break the cells of all columns over several lines, and
        nobody could read or copy them.
        """
        widths = {
            name: max(len(name), *(len(str(row[at])) for row in rows))
            for at, name in enumerate(names)
        }
        for name in self._spare:
            # Each column has a line and a blank before it, a blank behind it.
            if sum(widths.values()) + 3 * len(widths) + 1 <= room:
                break
            widths.pop(name, None)
        self.left_out = [name for name in names if name not in widths]
        for name in self.left_out:
            at = names.index(name)
            del names[at]
            for row in rows:
                del row[at]

    def _name(self, name: str) -> str:
        if self._format == "shell":  # the name of a variable
            return re.sub(r"\W", "_", name, flags=re.ASCII)
        return name if self._format in EXACT else one_line(name)

    def _cell(self, value: object) -> object:
        if self._format == "table":
            value = _for_people(value)
        if isinstance(value, Age):
            return int(value)
        if self._format in EXACT or isinstance(value, (bool, int, float)):
            return value
        shown = one_line(str(value), longest=len(str(value)))
        if self._format == "shell":
            return re.sub(r"([\\$`])", r"\\\1", shown)
        if self._format == "csv" and _FORMULA.match(shown):
            return f"'{shown}"
        return shown


def _for_people(value: object) -> object:
    """A value as a table has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Age):
        return format_duration(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value


class PoolmgrCommand(Command):
    """A command of poolmgr.

    :cvar service: whether it is a service, whose log is its voice
    :cvar ends_on_hangup: whether SIGHUP ends it
    :cvar columns: those of its output, if they are known beforehand
    :ivar failed: whether its exit code is 1 although it shows something
    """

    app: PoolmgrApp
    service = False
    ends_on_hangup = True
    columns: Sequence[str] = ()
    failed = False

    @property
    def configuration(self) -> "Configuration":
        """What the files and the global options say."""
        return self.app.configuration

    def open_cloud(
        self, timeout: float | None = None
    ) -> "AbstractContextManager[BlockingCloud]":
        """Use the configured cloud.

        :param timeout: seconds that each call may take; None for any number
        """
        from poolmgr.cloud import open_cloud

        driver = self.configuration.make_driver()
        return open_cloud(driver, timeout=timeout)

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run it; what it asks the cloud for itself has one request id."""
        from poolmgr.tracing import RequestContext, bound

        if self.columns:
            require_columns(parsed_args.columns, self.columns)
        if self.service:
            return int(super().run(parsed_args))
        with bound(RequestContext()):
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

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """A parser whose complaints are one line."""
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        prepare(parser)
        self.add_arguments(parser)
        return parser

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own arguments."""

    def get_epilog(self) -> str:
        """Nothing: cliff looks through every package on the machine for
        what it would say there."""
        return self._epilog or ""


# The oldest cliff allowed has no DisplayCommandBase[Any].
class _Shows(PoolmgrCommand, DisplayCommandBase):  # type: ignore[type-arg]
    """A command that shows data, made harmless.

    :cvar spare: columns that a table on a terminal can do without where there
        is no room for all; the first goes first
    """

    spare: Sequence[str] = ()

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Any,
    ) -> int:
        """Print it, and say what there is no room for."""
        require_columns(parsed_args.columns, column_names)
        self.formatter = Harmless(
            self.formatter, parsed_args.formatter, self.spare
        )
        self.emit(parsed_args, column_names, data)
        if left_out := self.formatter.left_out:
            self.say(
                f"no room for {', '.join(left_out)}: -c COLUMN or -f json "
                "shows them"
            )
        return 0

    def emit(
        self, given: argparse.Namespace, names: Sequence[str], data: Any
    ) -> None:
        """Write it by the formatter."""
        super().produce_output(given, names, data)  # type: ignore[safe-super]


class PoolmgrShowOne(_Shows, ShowOne):
    """A command that shows one thing."""


class PoolmgrLister(_Shows, Lister):
    """A command that shows a list.

    :cvar empty: what to say of an empty list
    """

    empty = "nothing to show"

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Any,
    ) -> int:
        """Print it, or say that there is nothing."""
        rows, format_ = list(data), parsed_args.formatter
        if not rows and self.empty and format_ not in EXACT:
            self.say(self.empty)
        if not rows and format_ == "table" and not parsed_args.print_empty:
            return 0
        return super().produce_output(parsed_args, column_names, rows)
