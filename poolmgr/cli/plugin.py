"""``poolmgr plugin list``."""

import argparse

from poolmgr.cli.base import PoolmgrLister, Table
from poolmgr.manager import action_plugins, driver_plugins
from poolmgr.text import one_line


class PluginList(PoolmgrLister):
    """List the actions and drivers that are installed, and try them out."""

    spare = ("Package",)

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Load every plugin."""
        plugins = [*action_plugins().inspect(), *driver_plugins().inspect()]
        return (
            ("Kind", "Name", "Package", "State", "Error"),
            [
                (p.kind, p.name, p.package, p.state, one_line(p.error))
                for p in plugins
            ],
        )
