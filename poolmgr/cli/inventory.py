"""What the commands that show the inventory have in common."""

import argparse
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar, get_args

from poolmgr.cli.base import PoolmgrCommand, PoolmgrLister, Table
from poolmgr.cli.columns import Age, Text, YesNo
from poolmgr.cloud import open_cloud
from poolmgr.jobs.manager import driver_plugins
from poolmgr.ownership import Mark, State
from poolmgr.reaper.inventory import Inventory, Item
from poolmgr.text import parse_duration

Cells = Mapping[str, object]
T = TypeVar("T")


class InventoryCommand(PoolmgrCommand):
    """A command that looks at what there is."""

    def look(
        self, question: Callable[[Inventory], Coroutine[Any, Any, T]]
    ) -> T:
        """Ask the configured cloud's inventory something, for as long as a
        short action may take."""
        pool = self.configuration.pool()
        driver = self.configuration.make_driver(driver_plugins())
        with open_cloud(driver, timeout=pool.short_timeout) as cloud:
            inventory = Inventory(cloud.cloud, pool.ownership)
            return cloud.wait(question(inventory))


class InventoryLister(InventoryCommand, PoolmgrLister):
    """A command that lists what there is.

    :cvar things: what it lists, in the plural
    :cvar columns: the columns it has in any case
    """

    things = ""
    columns: tuple[str, ...] = ()

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The filters that all lists have."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--all",
            action="store_true",
            help=f"also {self.things} that are not this pool's; shows whose "
            "they are",
        )
        parser.add_argument(
            "--state",
            type=_dashed,
            choices=(*map(_dashed, get_args(State)), "unmarked"),
            help="only those in this state",
        )
        parser.add_argument(
            "--job",
            metavar="UNIQUE",
            help="only those made for the job of this unique",
        )
        parser.add_argument(
            "--older-than",
            type=duration,
            metavar="DURATION",
            help="only those that are older: 90 (seconds), 10m, 2h, 3d",
        )
        return parser

    def table(self, rows: Iterable[Cells], given: argparse.Namespace) -> Table:
        """The rows' columns that are to be shown."""
        columns = self.columns + (("Pool", "Ours") if given.all else ())
        return columns, [[row[name] for name in columns] for row in rows]


def filters(given: argparse.Namespace) -> dict[str, Any]:
    """The filters that all lists have, as fields of ``Wanted``."""
    return {
        "foreign": given.all,
        "state": given.state and given.state.replace("-", " "),
        "job": given.job,
        "older_than": given.older_than,
    }


def marked(item: Item) -> Cells:
    """The columns of a list that tell whose a thing is and what made it."""
    mark = _texts(item.mark)
    return {
        "State": mark["state"],
        "Job": mark["unique"],
        "Pool": mark["pool"],
        "Ours": YesNo(item.ours),
    }


def details(item: Item) -> Cells:
    """The fields that tell whose a thing is and what it was made for."""
    mark = _texts(item.mark)
    return {
        "age": Age(item.age),
        "ours": YesNo(item.ours),
        "pool": mark["pool"],
        "state": mark["state"],
        "job": mark["unique"],
        "handle": mark["handle"],
        "made": mark["made"],
    }


def _texts(mark: Mark | None) -> Mapping[str, Text]:
    """A mark's fields; those that are empty are as good as missing."""
    names = ("pool", "unique", "handle", "made", "state")
    written = vars(mark) if mark else {}
    return {name: Text(written.get(name) or None) for name in names}


def _dashed(text: str) -> str:
    # So that what a table shows can be pasted.
    return text.replace(" ", "-")


def duration(text: str) -> int:
    """A length of time on the command line, as seconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
