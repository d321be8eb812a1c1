"""What the commands have in common."""

import argparse
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cliff.command import Command
from cliff.lister import Lister
from cliff.show import ShowOne
from cliff.utils import terminal_width

from poolmgr.cli.output import EXACT, harmless, harmless_names
from poolmgr.cli.progress import show_progress
from poolmgr.cli.usage import UsageError, did_you_mean, prepare
from poolmgr.text import one_line

if TYPE_CHECKING:
    from poolmgr.cli.app import PoolmgrApp
    from poolmgr.config.options import Configuration

Row = Sequence[Any]
Table = tuple[Sequence[str], Iterable[Any]]


class PoolmgrCommand(Command):
    """A command of poolmgr.

    :cvar service: whether it is a service, whose log is its voice
    :cvar ends_on_hangup: whether SIGHUP ends it
    :cvar columns: those of its output, if they are known beforehand
    :ivar failed: whether its exit code is 1 although it shows something
    """

    app: "PoolmgrApp"
    service = False
    ends_on_hangup = True
    columns: Sequence[str] = ()
    failed = False

    @property
    def configuration(self) -> "Configuration":
        """What the files and the global options say."""
        return self.app.configuration

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run it; what it asks the cloud for itself has one request id."""
        from poolmgr.tracing import RequestContext, bound

        if self.columns:
            require_columns(parsed_args.columns, self.columns)
        if self.service:
            return int(super().run(parsed_args))
        with bound(RequestContext()):
            return int(super().run(parsed_args)) or int(self.failed)

    @property
    def quiet(self) -> bool:
        """Whether nothing but errors is wanted."""
        return not self.app.options.verbose_level

    def say(self, text: str) -> None:
        """Tell the person; data goes to standard output alone."""
        if not self.quiet:
            self.app.stderr.write(f"{self.app.NAME}: {text}\n")

    @contextmanager
    def progress(
        self,
        step: Callable[[], str],
        bar: Callable[[], tuple[int, int]] | None = None,
    ) -> Iterator[None]:
        """Show how far it is while the block runs; see
        :func:`~poolmgr.cli.progress.show_progress`."""
        if self.quiet:
            yield
            return
        name = self.cmd_name or self.app.NAME
        with show_progress(self.app.stderr, name, step, bar):
            yield

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """A parser whose complaints are one line."""
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        prepare(parser)
        return parser

    def get_epilog(self) -> str:
        """Nothing: cliff looks through every package on the machine for
        what it would say there."""
        return self._epilog or ""


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
        require_columns(parsed_args.columns, column_names)
        return super().produce_output(
            parsed_args,
            harmless_names(column_names, format_),
            [harmless(value, format_) for value in data],
        )


class PoolmgrLister(PoolmgrCommand, Lister):
    """A command that shows a list.

    :cvar spare: columns that a table on a terminal can do without where there
        is no room for all; the first goes first
    :cvar empty: what to say of an empty list
    """

    spare: Sequence[str] = ()
    empty = "nothing to show"

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Iterable[Row],
    ) -> int:
        """Print it, made harmless."""
        format_ = parsed_args.formatter
        require_columns(parsed_args.columns, column_names)
        names = harmless_names(column_names, format_)
        rows = [[harmless(cell, format_) for cell in row] for row in data]
        if not rows and self.empty and format_ not in EXACT:
            self.say(self.empty)
        left_out: list[str] = []
        if format_ == "table":
            if not rows and not parsed_args.print_empty:
                return 0
            left_out = self._left_out(parsed_args, names, rows)
        if left_out:
            parsed_args.columns = [n for n in names if n not in left_out]
        code = super().produce_output(parsed_args, names, rows)
        if left_out:
            self.app.stdout.flush()
            self.say(
                f"no room for {', '.join(left_out)}: -c COLUMN or -f json "
                "shows them"
            )
        return code

    def _left_out(
        self,
        given: argparse.Namespace,
        names: Sequence[str],
        rows: Sequence[Row],
    ) -> list[str]:
        """The columns that a terminal has no room for.

        cliff would break the cells of all columns over several lines, and
        nobody could read or copy them.
        """
        if given.columns or not rows or not self.app.stdout.isatty():
            return []
        columns = zip(*rows, strict=True)
        widths = {
            name: max(len(name), *(len(str(cell)) for cell in cells))
            for name, cells in zip(names, columns, strict=True)
        }
        room = given.max_width or terminal_width() or 80
        spare = [name for name in self.spare if name in widths]
        # Each column has a line and a blank before it, a blank behind it.
        while spare and sum(widths.values()) + 3 * len(widths) + 1 > room:
            del widths[spare.pop(0)]
        return [name for name in names if name not in widths]


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
