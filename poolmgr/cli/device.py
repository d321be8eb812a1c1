"""``poolmgr device list`` and ``poolmgr device show``."""

import argparse
from typing import get_args

from poolmgr.cli.base import PoolmgrShowOne, Table
from poolmgr.cli.columns import Texts
from poolmgr.cli.inventory import (
    DETAILS,
    WHOSE,
    Fields,
    InventoryCommand,
    InventoryLister,
    fields_of,
    is_wanted,
)
from poolmgr.drivers.base import Device, Status
from poolmgr.reaper.inventory import (
    Item,
    find_one,
    list_devices,
    list_everything,
)

_FIELDS = ("id", "name", "status", "address", "fault", "created")


class DeviceList(InventoryLister):
    """List this pool's devices, the newest last."""

    things = "devices"
    columns = (
        *("Name", "Status", "Address", "Age", "State", "Job", "ID"),
        *WHOSE,
    )
    empty = "no devices"
    spare = ("ID", "Job", "State", "Age", "Status", "Address")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The filters."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--status",
            choices=get_args(Status),
            help="only those of this status",
        )
        parser.add_argument(
            "--name",
            metavar="TEXT",
            default="",
            help="only those with this in their name",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """List them."""
        given = parsed_args
        found = [
            _fields(item)
            for item in self.look(list_devices)
            if is_wanted(item, given)
            and given.status in (None, item.thing.status)
            and given.name in item.name
        ]
        return self.table(found, given)


class DeviceShow(InventoryCommand, PoolmgrShowOne):
    """Show a device, this pool's or not."""

    columns = (
        *("id", "name", "status", "address", "floating_ips", "fault"),
        *("created", *DETAILS),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Which one."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "device", metavar="NAME-or-ID", help="name or id of the device"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Show it."""
        devices, ips = self.look(list_everything)
        item = find_one("device", parsed_args.device, devices)
        id_ = item.thing.id
        addresses = [ip.name for ip in ips if ip.thing.device_id == id_]
        found = {**_fields(item), "floating_ips": Texts(addresses)}
        return self.columns, [found[name] for name in self.columns]


def _fields(item: Item[Device]) -> Fields:
    return fields_of(item, *_FIELDS)
