"""``poolmgr device`` and ``poolmgr ip``: resources in the cloud."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar, get_args

from poolmgr.cli.base import (
    Age,
    PoolmgrCommand,
    PoolmgrLister,
    PoolmgrShowOne,
    Table,
)
from poolmgr.cli.usage import duration
from poolmgr.cloud import Cloud, open_cloud
from poolmgr.drivers.base import Status
from poolmgr.ownership import Ownership, State
from poolmgr.reaper import inventory
from poolmgr.reaper.inventory import Item

T = TypeVar("T")

#: Columns that tell whose a resource is; with ``--all`` or ``-c`` only.
_OWNER = ("Pool", "Ours")
#: Fields of every resource, of which these are from its mark.
_OF_MARK = ("pool", "state", "unique", "handle", "made")
_DETAILS = ("created", "age", "ours", "pool", "state", "job", "handle", "made")


class _InventoryCommand(PoolmgrCommand):
    """A command that shows resources."""

    def ask(
        self, question: Callable[[Cloud, Ownership], Coroutine[Any, Any, T]]
    ) -> T:
        """Ask the configured cloud, for as long as a short job may take."""
        pool = self.configuration.pool()
        driver = self.configuration.make_driver()
        with (
            self.progress(lambda: "asking the cloud"),
            open_cloud(driver, timeout=pool.short_timeout) as cloud,
        ):
            return cloud.wait(question(cloud.cloud, pool.ownership))


class _List(_InventoryCommand, PoolmgrLister):
    """A command that lists resources."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the filters of all lists."""
        add = parser.add_argument
        states = (*map(_dashed, get_args(State)), "unmarked")
        add("--all", action="store_true", help="all in the project")
        add("--state", type=_dashed, choices=states, help="only in this state")
        add("--job", metavar="UNIQUE", help="only of the job UNIQUE")
        help_ = "only older than this: 90 (seconds), 10m, 2h, 3d"
        add("--older-than", metavar="DURATION", type=duration, help=help_)

    def table(self, items: Iterable[Item], given: Namespace) -> Table:
        """Return the resources that pass the filters of all lists."""
        every = given.all or given.columns
        names = [n for n in self.columns if every or n not in _OWNER]
        wanted = [item for item in items if _is_wanted(item, given)]
        return names, [_values(item, names) for item in wanted]


class DeviceList(_List):
    """List this pool's devices, the newest last."""

    columns = (
        *("Name", "Status", "Address", "Age", "State", "Job", "ID"),
        *_OWNER,
    )
    empty = "no devices"
    spare = ("ID", "Job", "State", "Age", "Status", "Address")

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the filters."""
        super().add_arguments(parser)
        add = parser.add_argument
        add("--status", choices=get_args(Status), help="only with this status")
        add("--name", metavar="TEXT", default="", help="only names with TEXT")

    def take_action(self, parsed_args: Namespace) -> Table:
        """List the devices."""
        status, name = parsed_args.status, parsed_args.name
        found = [
            item
            for item in self.ask(inventory.list_devices)
            if status in (None, item.resource.status) and name in item.name
        ]
        return self.table(found, parsed_args)


class IpList(_List):
    """List this pool's floating IPs, the newest last."""

    columns = ("Address", "Attached to", "Age", "State", "Job", "ID", *_OWNER)
    empty = "no floating IPs"
    spare = ("ID", "Job", "State", "Age", "Attached to")

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the filters."""
        super().add_arguments(parser)
        add = parser.add_mutually_exclusive_group().add_argument
        add("--attached", action="store_true", help="only attached IPs")
        add("--unattached", action="store_true", help="only unattached IPs")
        help_ = "only attached to this device"
        parser.add_argument("--device", metavar="NAME-or-ID", help=help_)

    def take_action(self, parsed_args: Namespace) -> Table:
        """List the floating IPs."""
        _devices, ips = self.ask(inventory.list_everything)
        given = parsed_args
        found = [
            ip
            for ip in ips
            if not (given.attached and ip.attached_to is None)
            and not (given.unattached and ip.attached_to is not None)
            and given.device in (None, ip.attached_to, ip.resource.device_id)
        ]
        return self.table(found, given)


class _Show(_InventoryCommand, PoolmgrShowOne):
    """A command that shows one resource, of this pool or another.

    :cvar kind: what it shows
    :cvar which: the metavar of its argument
    """

    kind = which = ""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the name of the resource."""
        help_ = f"the {self.kind}"
        parser.add_argument("which", metavar=self.which, help=help_)

    def take_action(self, parsed_args: Namespace) -> Table:
        """Show the resource."""
        devices, ips = self.ask(inventory.list_everything)
        items = devices if self.kind == "device" else ips
        item: Item = inventory.find_one(self.kind, parsed_args.which, items)
        id_ = item.resource.id
        attached = [ip.name for ip in ips if ip.resource.device_id == id_]
        return self.columns, _values(item, self.columns, attached)


class DeviceShow(_Show):
    """Show a device, of this pool or another."""

    kind, which = "device", "NAME-or-ID"
    columns = (
        *("id", "name", "status", "address", "floating_ips", "fault"),
        *_DETAILS,
    )


class IpShow(_Show):
    """Show a floating IP, of this pool or another."""

    kind, which = "floating IP", "ADDRESS-or-ID"
    columns = ("id", "address", "attached_to", "device_id", *_DETAILS)


def _is_wanted(item: Item, given: Namespace) -> bool:
    """Return whether a resource passes the filters of all lists."""
    mark, least = item.mark, given.older_than
    state = _dashed(mark.state) if mark else "unmarked"
    return (
        (given.all or item.ours)
        and given.state in (None, state)
        and given.job in (None, mark.unique if mark else None)
        # A resource of unknown age may be younger.
        and (least is None or (item.age is not None and item.age > least))
    )


def _values(
    item: Item, columns: Iterable[str], floating_ips: Sequence[str] = ()
) -> list[object]:
    """Return the values of a resource in some columns.

    :param floating_ips: the addresses that are attached to it
    """
    mark = asdict(item.mark) if item.mark else {}
    known = {
        **asdict(item.resource),
        # Unknown fields of a mark are empty.
        **{name: mark.get(name) or None for name in _OF_MARK},
        "age": None if item.age is None else Age(item.age),
        "ours": item.ours,
        "attached_to": item.attached_to,
        "floating_ips": [*floating_ips],
    }
    known["job"] = known["unique"]
    return [known[name.lower().replace(" ", "_")] for name in columns]


def _dashed(state: str) -> str:
    """Return a state as one word; a state as tables show it is accepted."""
    return state.replace(" ", "-")
