"""Which columns of a table there is room for on a terminal."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from cliff.columns import FormattableColumn

from poolmgr.cli.base import Row
from poolmgr.cli.terminal import Output, size


class Room:
    """The room that there is for a table.

    :param given: the command line, which may ask for columns or a width
    :param stream: where the table goes
    """

    def __init__(self, given: argparse.Namespace, stream: Output) -> None:
        self._columns = 0  # without end
        chosen = given.formatter != "table" or given.columns
        if not chosen and stream.isatty():
            self._columns = given.max_width or size(stream).columns

    def without(
        self,
        names: Sequence[str],
        rows: Iterable[Row],
        spare: Sequence[str],
    ) -> list[str]:
        """The columns to leave out.

        Cells that are broken over lines cannot be copied, nor read.

        :param names: the columns that there are
        :param rows: their cells
        :param spare: those one can do without, the first to go first
        """
        left_out: list[str] = []
        if not self._columns:
            return left_out
        widths = _widths(names, rows)
        for name in (each for each in spare if each in widths):
            # Each has a line and a blank before it, and a blank behind it.
            if sum(widths.values()) + 3 * len(widths) + 1 <= self._columns:
                break
            del widths[name]
            left_out.append(name)
        return left_out


def chosen(
    names: Sequence[str], rows: Iterable[Row], left_out: Sequence[str]
) -> tuple[list[str], list[list[Any]]]:
    """A table without some of its columns."""
    kept = [i for i, name in enumerate(names) if name not in left_out]
    return [names[i] for i in kept], [[row[i] for i in kept] for row in rows]


def left_out_line(names: Sequence[str], left_out: Sequence[str]) -> str:
    """What to tell who sees a table without some of its columns."""
    missing = ", ".join(name for name in names if name in left_out)
    return f"no room for {missing}: -c COLUMN or -f json shows them\n"


def _widths(names: Sequence[str], rows: Iterable[Row]) -> dict[str, int]:
    widths = {name: len(name) for name in names}
    for row in rows:
        for name, cell in zip(names, row, strict=True):
            widths[name] = max(widths[name], len(_shown(cell)))
    return widths


def _shown(cell: object) -> str:
    if isinstance(cell, FormattableColumn):
        return str(cell.human_readable())
    return str(cell)
