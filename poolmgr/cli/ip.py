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
)
from poolmgr.reaper.inventory import IpItem, WantedIps


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
        wanted = WantedIps(
            **self.filters(parsed_args),
            attached=parsed_args.attached,
            device=parsed_args.device,
        )
        found = self.look(lambda inventory: inventory.ips(wanted))
        return self.table(map(_fields, found), parsed_args)


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
        item = self.look(lambda inventory: inventory.ip(parsed_args.ip))
        found = _fields(item)
        return self.columns, [found[name] for name in self.columns]


def _fields(item: IpItem) -> Fields:
    found = fields_of(item, item.ip, "id", "address", "device_id", "created")
    return {**found, "attached_to": Text(item.attached_to)}
