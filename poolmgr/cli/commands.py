"""The list of commands: poolmgr's own, and one for each action."""

from importlib.metadata import EntryPoint
from typing import Any

from cliff.command import Command
from cliff.commandmanager import CommandManager

from poolmgr.cli.usage import UsageError, unknown_command
from poolmgr.plugins import ACTIONS, docstring, entry_points

#: The classes of poolmgr's own commands, grouped for the help. The commands
#: of actions make up the empty group.
_GROUPS: dict[str, dict[str, str]] = {
    "try it": {"demo": "demo:Demo", "help": "app:Help"},
    "run an action without a job server": {},
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
    """An action's entry point, which loads the action's command."""

    def load(self) -> Any:
        """Return the command's class."""
        from poolmgr.cli.action import command_for

        return command_for(self.name)


class Commands(CommandManager):
    """All commands. A command is imported when it is run."""

    commands: dict[str, EntryPoint]  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__("poolmgr.cli")

    def load_commands(self, namespace: str) -> None:
        """Find all commands.

        :raises PluginError: the entry points of a package cannot be read
        """
        for names in _GROUPS.values():
            for name, where in names.items():
                where = f"{namespace}.{where}"
                self.commands[name] = EntryPoint(name, where, namespace)
        for point in entry_points(ACTIONS):
            name = command_name(point.name)
            if name.strip() and not self.hides(point.name):
                # Two actions with the same name are refused when loaded.
                found = ActionPoint(point.name, point.value, point.group)
                self.commands[name] = found

    def hides(self, action: str) -> bool:
        """Return whether a command of poolmgr has the name of an action's."""
        point = self.commands.get(command_name(action))
        return point is not None and not isinstance(point, ActionPoint)

    def find_command(
        self, argv: list[str]
    ) -> tuple[type[Command], str, list[str]]:
        """Return a command's class, its name and its arguments.

        :raises UsageError: there is no such command
        :raises PluginError: the command's action cannot be loaded
        """
        # cliff would also run a command whose name is abbreviated.
        last = self._get_last_possible_command_index(argv)
        words = argv[:last] or argv[:1]
        for end in range(len(words), 0, -1):
            name = " ".join(words[:end])
            if name in self.commands:
                return self.commands[name].load(), name, argv[end:]
        raise UsageError(unknown_command(words, self.commands))

    def add_command(self, name: str, command_class: object) -> None:
        """Ignore cliff's own ``help`` and ``complete``."""

    def groups(self) -> dict[str, dict[str, str]]:
        """Return the name and summary of each command, by group."""
        points = sorted(self.commands.items())
        actions = [n for n, point in points if isinstance(point, ActionPoint)]
        return {
            title: {name: self._summary(name) for name in names or actions}
            for title, names in _GROUPS.items()
        }

    def _summary(self, name: str) -> str:
        """Return a docstring's first line, without importing the class."""
        point = self.commands[name]
        first, *_rest = docstring(point).splitlines() or [""]
        return first.rstrip(".") or f"({point.value})"


def command_name(action: str) -> str:
    """Return an action's command: ``build-device`` for ``BUILD_DEVICE``."""
    return action.lower().replace("_", "-")
