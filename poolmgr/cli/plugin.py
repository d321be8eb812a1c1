"""``poolmgr plugin list``."""

import argparse

from poolmgr.cli.base import PoolmgrLister, Table
from poolmgr.jobs.manager import action_plugins, driver_plugins
from poolmgr.plugins import Plugin
from poolmgr.text import one_line


class PluginList(PoolmgrLister):
    """List the installed actions and drivers, and try to load them."""

    columns = ("Kind", "Name", "Package", "State", "Error")
    spare = ("Package",)

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Load every plugin."""
        plugins = [*action_plugins().inspect(), *driver_plugins().inspect()]
        return (
            self.columns,
            [(p.kind, p.name, p.package, *self._state(p)) for p in plugins],
        )

    def _state(self, plugin: Plugin) -> tuple[str, str]:
        hidden = self.app.command_manager.hidden
        if plugin.kind != "action" or plugin.state != "ok":
            return plugin.state, one_line(plugin.error)
        if plugin.name not in hidden:
            return "ok", ""
        command = one_line(hidden[plugin.name])
        return "hidden", (
            f"'poolmgr {command}' is another command; jobs and 'poolmgr "
            "submit' run the action"
        )
