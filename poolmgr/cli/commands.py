"""Which commands there are: our own, and one for every action."""

from importlib.metadata import EntryPoint
from typing import Any

from cliff.command import Command
from cliff.commandmanager import CommandManager

from poolmgr.cli.usage import UsageError, no_command
from poolmgr.plugins import ACTIONS, docstring, entry_points

_OF_ACTIONS = "run an action without a job server"
#: Our own commands by what one wants to do, each with its class.
_GROUPS: dict[str, dict[str, str]] = {
    "try it": {"demo": "demo:Demo", "help": "app:Help"},
    _OF_ACTIONS: {},
    "manage devices and floating IPs": {
        "device list": "inventory:DeviceList",
        "device show": "inventory:DeviceShow",
        "ip list": "inventory:IpList",
        "ip show": "inventory:IpShow",
        "reap": "reap:Reap",
    },
    "run a worker, send it jobs": {
        "check": "config:Check",
        "health": "status:Health",
        "status": "status:Status",
        "submit": "submit:Submit",
        "worker": "worker:WorkerCommand",
    },
    "settings and plugins": {
        "complete": "complete:Complete",
        "config convert": "config:ConfigConvert",
        "config show": "config:ConfigShow",
        "plugin list": "config:PluginList",
    },
}


class ActionPoint(EntryPoint):
    """An action's entry point that loads a command for it."""

    def load(self) -> Any:
        """Make the command's class; the action is not imported yet."""
        from poolmgr.cli.action import command_for

        return command_for(self.name)


class Commands(CommandManager):
    """The commands; none is imported before it is run."""

    commands: dict[str, EntryPoint]  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__("poolmgr.cli")

    def load_commands(self, namespace: str) -> None:
        """Find the commands.

        :raises PluginError: a package has actions that cannot be read
        """
        for names in _GROUPS.values():
            for name, where in names.items():
                where = f"{namespace}.{where}"
                self.commands[name] = EntryPoint(name, where, namespace)
        for point in entry_points(ACTIONS):
            name = command_name(point.name)
            if name.strip() and not self.hides(point.name):
                # Of actions with one name all are refused, so any will do.
                found = ActionPoint(point.name, point.value, point.group)
                self.commands[name] = found

    def hides(self, action: str) -> bool:
        """Whether one of our own commands has the name of an action's."""
        point = self.commands.get(command_name(action))
        return point is not None and not isinstance(point, ActionPoint)

    def find_command(
        self, argv: list[str]
    ) -> tuple[type[Command], str, list[str]]:
        """Find a command: its class, its name, and its arguments.

        :raises UsageError: there is none, with what may have been meant
        """
        try:
            return super().find_command(argv)
        except ValueError:
            words = argv[: self._get_last_possible_command_index(argv)]
            raise UsageError(no_command(words, self.commands)) from None

    def add_command(self, name: str, command_class: object) -> None:
        """Leave out cliff's ``help`` and ``complete``: there are our own."""

    def groups(self) -> dict[str, dict[str, str]]:
        """The commands with a line for each, by the reader's purpose."""
        groups = {title: [*names] for title, names in _GROUPS.items()}
        own = {name for names in groups.values() for name in names}
        groups[_OF_ACTIONS] = sorted(self.commands.keys() - own)
        return {
            title: {name: self._summary(name) for name in names}
            for title, names in groups.items()
        }

    def _summary(self, name: str) -> str:
        """The first line of the docstring; nothing is imported for it."""
        point = self.commands[name]
        first, *_rest = docstring(point).splitlines() or [""]
        return first.rstrip(".") or f"({point.value})"


def command_name(action: str) -> str:
    """``BUILD_DEVICE`` is ``build-device`` on the command line."""
    return action.lower().replace("_", "-")
