"""What the commands have in common."""

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from cliff.command import Command
from cliff.lister import Lister
from cliff.show import ShowOne

from poolmgr.cli.output import harmless, harmless_names

if TYPE_CHECKING:
    from poolmgr.cli.app import PoolmgrApp
    from poolmgr.options import Configuration

Row = Sequence[Any]
Table = tuple[Sequence[str], Iterable[Any]]


class PoolmgrCommand(Command):
    """A command of poolmgr.

    :cvar service: whether it is a service, whose log is its voice
    """

    app: "PoolmgrApp"
    service = False

    @property
    def configuration(self) -> "Configuration":
        """What the files and the global options say."""
        return self.app.configuration

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run it; what it asks the cloud for itself has one request id."""
        from poolmgr.trail import Following, Trail

        if self.service:
            return int(super().run(parsed_args))
        with Following(Trail()):
            return int(super().run(parsed_args))

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
        return super().produce_output(
            parsed_args,
            harmless_names(column_names, format_),
            [harmless(value, format_) for value in data],
        )


class PoolmgrLister(PoolmgrCommand, Lister):
    """A command that shows a list."""

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Iterable[Row],
    ) -> int:
        """Print it, made harmless."""
        format_ = parsed_args.formatter
        return super().produce_output(
            parsed_args,
            column_names,
            [[harmless(cell, format_) for cell in row] for row in data],
        )
