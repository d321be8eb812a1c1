"""What the commands that show the inventory have in common."""

import argparse
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar, get_args

from poolmgr.cli.arguments import duration
from poolmgr.cli.base import PoolmgrCommand, PoolmgrLister, Table
from poolmgr.cli.columns import Age, Text, YesNo
from poolmgr.cloud import Cloud, open_cloud
from poolmgr.jobs.manager import driver_plugins
from poolmgr.ownership import Ownership, State
from poolmgr.reaper.inventory import Item

#: The value of each field of a thing.
Fields = Mapping[str, object]
T = TypeVar("T")

#: Columns that tell whose a thing is; lists have them with ``--all``.
WHOSE = ("Pool", "Ours")
#: Fields that tell whose a thing is and what it was made for.
DETAILS = ("age", "ours", "pool", "state", "job", "handle", "made")


class InventoryCommand(PoolmgrCommand):
    """A command that looks at what there is."""

    def look(
        self, question: Callable[[Cloud, Ownership], Coroutine[Any, Any, T]]
    ) -> T:
        """Ask the configured cloud something, for as long as a short action
        may take."""
        pool = self.configuration.pool()
        driver = self.configuration.make_driver(driver_plugins())
        with open_cloud(driver, timeout=pool.short_timeout) as cloud:
            return cloud.wait(question(cloud.cloud, pool.ownership))


class InventoryLister(InventoryCommand, PoolmgrLister):
    """A command that lists what there is.

    :cvar things: what it lists, in the plural
    """

    things = ""

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

    def table(
        self, things: Iterable[Fields], given: argparse.Namespace
    ) -> Table:
        """The columns that are to be shown."""
        names = {
            name: name.lower().replace(" ", "_")
            for name in self.columns
            if given.all or name not in WHOSE
        }
        rows = [[each[field] for field in names.values()] for each in things]
        return list(names), rows


def is_wanted(item: Item[Any], given: argparse.Namespace) -> bool:
    """Whether a thing passes the filters that all lists have."""
    mark, least = item.mark, given.older_than
    state = _dashed(mark.state) if mark else "unmarked"
    return (
        (given.all or item.ours)
        and given.state in (None, state)
        and given.job in (None, mark.unique if mark else None)
        # What has no known age may be younger.
        and (least is None or (item.age is not None and item.age > least))
    )


def fields_of(item: Item[Any], *names: str) -> Fields:
    """The fields of a thing, and those of :data:`DETAILS`.

    :param names: attributes of what the driver says of it
    """
    mark = item.mark
    # What is empty in a mark is as good as missing.
    texts = {
        "pool": mark and (mark.pool or None),
        "state": mark and (mark.state or None),
        "job": mark and (mark.unique or None),
        "handle": mark and (mark.handle or None),
        "made": mark and (mark.made or None),
        **{name: getattr(item.thing, name) for name in names},
    }
    return {
        "age": Age(item.age),
        "ours": YesNo(item.ours),
        **{name: Text(value) for name, value in texts.items()},
    }


def _dashed(text: str) -> str:
    # So that what a table shows can be pasted.
    return text.replace(" ", "-")
