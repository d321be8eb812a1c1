"""What the commands have in common."""

import argparse
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cliff.command import Command
from cliff.lister import Lister
from cliff.show import ShowOne

from poolmgr.cli.output import harmless, harmless_names
from poolmgr.cli.usage import complain_in_one_line, did_you_mean
from poolmgr.errors import PoolmgrError
from poolmgr.text import one_line

if TYPE_CHECKING:
    from poolmgr.cli.app import PoolmgrApp
    from poolmgr.config.options import Configuration

Row = Sequence[Any]
Table = tuple[Sequence[str], Iterable[Any]]


class UsageError(PoolmgrError):
    """What the command line asks for cannot be had."""

    code = "usage"


class PoolmgrCommand(Command):
    """A command of poolmgr.

    :cvar service: whether it is a service, whose log is its voice
    :cvar ends_on_hangup: whether SIGHUP ends it
    """

    app: "PoolmgrApp"
    service = False
    ends_on_hangup = True

    @property
    def configuration(self) -> "Configuration":
        """What the files and the global options say."""
        return self.app.configuration

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run it; what it asks the cloud for itself has one request id."""
        from poolmgr.tracing import RequestContext, bound

        if self.service:
            return int(super().run(parsed_args))
        with bound(RequestContext()):
            return int(super().run(parsed_args))

    @property
    def quiet(self) -> bool:
        """Whether nothing but errors is wanted."""
        return not self.app.options.verbose_level

    @contextmanager
    def fitted(
        self,
        given: argparse.Namespace,
        names: Sequence[str],
        rows: list[list[Any]],
        spare: Sequence[str],
    ) -> Iterator[tuple[Sequence[str], list[list[Any]]]]:
        """A table without the columns that there is no room for.

        They are named once the table is printed.

        :param spare: those it can do without, the first to go first
        """
        from poolmgr.cli import narrow

        room = narrow.Room(given, self.app.stdout)
        left_out = room.without(names, rows, spare)
        if not left_out:
            yield names, rows
            return
        yield narrow.chosen(names, rows, left_out)
        if not self.quiet:
            self.app.stdout.flush()
            self.app.stderr.write(narrow.left_out_line(names, left_out))

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """A parser whose complaints are one line."""
        parser = super().get_parser(prog_name)
        parser.formatter_class = Paragraphs
        complain_in_one_line(parser)
        return parser

    def get_epilog(self) -> str:
        """Nothing: cliff looks through every package on the machine for
        what it would say there."""
        return self._epilog or ""


class Paragraphs(argparse.HelpFormatter):
    """Help that keeps the paragraphs of a docstring."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        fill = super()._fill_text
        return "\n\n".join(fill(each, width, indent) for each in paragraphs)


class PoolmgrShowOne(PoolmgrCommand, ShowOne):
    """A command that shows one thing."""

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Sequence[Any],
    ) -> int:
        """Print it, made harmless."""
        format_ = parsed_args.formatter
        return super().produce_output(
            parsed_args,
            harmless_names(column_names, format_),
            [harmless(value, format_) for value in data],
        )


class PoolmgrLister(PoolmgrCommand, Lister):
    """A command that shows a list.

    :cvar spare: columns that a table on a terminal can do without where there
        is no room for all; the first goes first
    """

    spare: tuple[str, ...] = ()

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Iterable[Row],
    ) -> int:
        """Print it, made harmless."""
        format_ = parsed_args.formatter
        require_columns(parsed_args.columns, column_names)
        rows = [[harmless(cell, format_) for cell in row] for row in data]
        with self.fitted(parsed_args, column_names, rows, self.spare) as table:
            return super().produce_output(parsed_args, *table)


def positive(text: str) -> int:
    """A number on the command line that is 1 or more."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(
            f"must be 1 or more, not {one_line(text, 100)!r}"
        )
    return int(text)


def seconds(text: str) -> float:
    """A time on the command line."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < math.inf:
        raise argparse.ArgumentTypeError(
            f"must be a number of seconds above 0, not {one_line(text, 100)!r}"
        )
    return number


def require_columns(wanted: Iterable[str], names: Collection[str]) -> None:
    """Refuse columns that there are not.

    :param wanted: those of ``-c``, spelt as cliff has it
    :raises UsageError: the first of them
    """
    known = {_spelt(name): name for name in names}
    for each in wanted:
        if _spelt(each) not in known:
            raise UsageError(
                f"there is no column {one_line(each, 100)!r}"
                f"{did_you_mean(_spelt(each), known)}; choose of: "
                f"{one_line(', '.join(names))}"
            )


def _spelt(name: str) -> str:
    return name.lower().strip().replace(" ", "_")
