"""``poolmgr ip list`` and ``poolmgr ip show``."""

import argparse

from poolmgr.cli.base import PoolmgrShowOne, Table
from poolmgr.cli.columns import Text
from poolmgr.cli.inventory import (
    DETAILS,
    WHOSE,
    Fields,
    InventoryCommand,
    InventoryLister,
    fields_of,
    is_wanted,
)
from poolmgr.drivers.base import FloatingIP
from poolmgr.reaper.inventory import Item, find_one, list_everything


class IpList(InventoryLister):
    """List this pool's floating IPs, the newest last."""

    things = "floating IPs"
    columns = (
        *("Address", "Attached to", "Age", "State", "Job", "ID"),
        *WHOSE,
    )
    empty = "no floating IPs"
    spare = ("ID", "Job", "State", "Age", "Attached to")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The filters."""
        parser = super().get_parser(prog_name)
        attached = parser.add_mutually_exclusive_group()
        attached.add_argument(
            "--attached",
            action="store_true",
            default=None,
            help="only those that are attached to a device",
        )
        attached.add_argument(
            "--unattached",
            action="store_false",
            dest="attached",
            help="only those that are not",
        )
        parser.add_argument(
            "--device",
            metavar="NAME-or-ID",
            help="only those that are attached to this device",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """List them."""
        given = parsed_args
        _devices, ips = self.look(list_everything)
        found = [
            _fields(item)
            for item in ips
            if is_wanted(item, given)
            and given.attached in (None, item.attached_to is not None)
            and given.device in (None, item.attached_to, item.thing.device_id)
        ]
        return self.table(found, given)


class IpShow(InventoryCommand, PoolmgrShowOne):
    """Show a floating IP, this pool's or not."""

    columns = (
        *("id", "address", "attached_to", "device_id", "created"),
        *DETAILS,
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Which one."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "ip", metavar="ADDRESS-or-ID", help="the address, or its id"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Show it."""
        _devices, ips = self.look(list_everything)
        found = _fields(find_one("floating IP", parsed_args.ip, ips))
        return self.columns, [found[name] for name in self.columns]


def _fields(item: Item[FloatingIP]) -> Fields:
    found = fields_of(item, "id", "address", "device_id", "created")
    return {**found, "attached_to": Text(item.attached_to)}
