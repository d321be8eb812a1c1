"""``poolmgr device list`` and ``poolmgr device show``."""

import argparse
from typing import get_args

from poolmgr.cli.base import PoolmgrShowOne, Table
from poolmgr.cli.columns import Age, Text, Texts
from poolmgr.cli.inventory import (
    Cells,
    InventoryCommand,
    InventoryLister,
    details,
    filters,
    marked,
)
from poolmgr.drivers.base import Status
from poolmgr.reaper.inventory import DeviceItem, WantedDevices


class DeviceList(InventoryLister):
    """List this pool's devices, the newest last."""

    things = "devices"
    columns = ("Name", "Status", "Address", "Age", "State", "Job", "ID")
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
        wanted = WantedDevices(
            **filters(parsed_args),
            status=parsed_args.status,
            name=parsed_args.name,
        )
        found = self.look(lambda inventory: inventory.devices(wanted))
        return self.table(map(_row, found), parsed_args)


class DeviceShow(InventoryCommand, PoolmgrShowOne):
    """Show a device, this pool's or not."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Which one."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "device", metavar="NAME-or-ID", help="name or id of the device"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Show it."""
        item, addresses = self.look(
            lambda inventory: inventory.device(parsed_args.device)
        )
        device = item.device
        return self.dict2columns(
            {
                "id": Text(device.id),
                "name": Text(device.name),
                "status": Text(device.status),
                "address": Text(device.address),
                "floating_ips": Texts(addresses),
                "fault": Text(device.fault),
                "created": Text(device.created),
                **details(item),
            }
        )


def _row(item: DeviceItem) -> Cells:
    device = item.device
    return {
        "Name": Text(device.name),
        "Status": Text(device.status),
        "Address": Text(device.address),
        "Age": Age(item.age),
        "ID": Text(device.id),
        **marked(item),
    }
