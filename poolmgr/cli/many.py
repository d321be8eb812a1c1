"""Rows from a command that as a rule shows one thing."""

import argparse
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any

from cliff.formatters.base import ListFormatter

from poolmgr.cli.base import Row, UsageError
from poolmgr.cli.output import harmless
from poolmgr.plugins import stevedore

if TYPE_CHECKING:
    from poolmgr.cli.base import PoolmgrShowOne


class ManyOutput:
    """The formats of lists, beside those of one thing.

    :param parser: the command's, with the options of the latter
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        found: stevedore.ExtensionManager[ListFormatter]
        found = stevedore.ExtensionManager(
            "cliff.formatter.list", invoke_on_load=True
        )
        self._formatters = {each.name: each.obj for each in found}
        option = parser._option_string_actions["--format"]
        self._of_one = set(option.choices or ())
        for name, formatter in self._formatters.items():
            # Those that there are both ways have the same options.
            if name not in self._of_one and formatter is not None:
                formatter.add_argument_group(parser)
        option.choices = sorted(self._of_one | self._formatters.keys())

    def check(self, format_: str, many: bool) -> None:
        """Refuse a format that cannot show so much.

        :raises UsageError: there is no such output
        """
        if many and format_ not in self._formatters:
            raise UsageError(f"-f {format_} shows one thing, not --count")
        if not many and format_ not in self._of_one:
            raise UsageError(f"-f {format_} is for lists: give --count N")

    def produce(
        self,
        command: "PoolmgrShowOne",
        given: argparse.Namespace,
        names: Sequence[str],
        rows: Iterable[Row],
    ) -> None:
        """Print a row for each."""
        names, chosen = command._generate_columns_and_selector(given, names)
        format_ = given.formatter
        made: list[list[Any]] = [
            [
                harmless(cell, format_)
                for cell in (compress(row, chosen) if chosen else row)
            ]
            for row in rows
        ]
        formatter = self._formatters[format_]
        assert formatter is not None  # noqa: S101 - made when it was loaded
        # What they have in common can go; whether one failed, and why, not.
        spare = ("az", "type")
        with command.fitted(given, names, made, spare) as (names, made):
            formatter.emit_list(names, made, command.app.stdout, given)
