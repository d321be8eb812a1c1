"""Which commands there are: our own, and one for every action."""

from importlib.metadata import EntryPoint

from cliff.command import Command
from cliff.commandmanager import CommandManager

from poolmgr.plugins import ACTIONS, docstring, entry_points

CLI = "poolmgr.cli"

_ACTIONS = "build and delete without a job server"
_OTHERS = "other commands"
#: The commands by what one wants to do; of those with a verb, the noun.
_GROUPS: dict[str, tuple[str, ...]] = {
    "try it": ("demo", "help"),
    _ACTIONS: (),
    "look after devices and floating IPs": ("device", "ip", "reap"),
    "run a worker, send it jobs": (
        *("worker", "check", "health", "status", "submit"),
    ),
    "settings and plugins": ("config", "plugin", "complete"),
    _OTHERS: (),
}


class ActionEntryPoint:
    """Looks like an entry point; loads a command made for an action.

    :param action: the action's name, as ``BUILD_DEVICE``
    """

    def __init__(self, action: str) -> None:
        self.action = action
        self.name = command_name(action)
        self.value = f"the action {action}"

    def load(self) -> type[Command]:
        """The command's class; the action itself is not imported yet."""
        from poolmgr.cli.action import command_for

        return command_for(self.action)


class Commands(CommandManager):
    """The commands; none is imported before it is run.

    :ivar hidden: actions that have no command, because there is another of
        the name; by action, the name of the command
    """

    def __init__(self) -> None:
        self.hidden: dict[str, str] = {}
        super().__init__(CLI)

    def load_commands(self, namespace: str) -> None:
        """Find the commands.  cliff's own way would import all of them.

        :raises PluginError: a package has some that cannot be read
        """
        for point in entry_points(ACTIONS):
            made = ActionEntryPoint(point.name)
            if made.name.strip():
                self._hide(made.name)
                self.commands[made.name] = made  # type: ignore[assignment]
        for point in entry_points(namespace):
            name = point.name.replace("_", " ")
            self._hide(name)
            self.commands[name] = point

    def add_command(self, name: str, command_class: type[Command]) -> None:
        """Add a command; cliff's ``complete`` is not wanted, there is our
        own."""
        if name != "complete":
            self._hide(name)
            super().add_command(name, command_class)

    def _hide(self, name: str) -> None:
        """Note the action whose command is about to be replaced."""
        former = self.commands.get(name)
        if isinstance(former, ActionEntryPoint):
            self.hidden[former.action] = name

    def names(self) -> list[str]:
        """The names of all commands, sorted."""
        return sorted(self.commands)

    def groups(self) -> dict[str, dict[str, str]]:
        """The commands with a line for each, by the reader's purpose."""
        titles = {word: title for title in _GROUPS for word in _GROUPS[title]}
        found: dict[str, dict[str, str]] = {title: {} for title in _GROUPS}
        for name, summary in self.summaries().items():
            is_action = isinstance(self.commands[name], ActionEntryPoint)
            title = titles.get(name.split()[0], _OTHERS)
            found[_ACTIONS if is_action else title][name] = summary
        return {title: each for title, each in found.items() if each}

    def summaries(self) -> dict[str, str]:
        """A line for every command, by its name, sorted."""
        # Of actions with one name all are refused, so any will do.
        actions = {p.name: p for p in entry_points(ACTIONS)}
        found = {}
        for name, point in sorted(self.commands.items()):
            if isinstance(point, ActionEntryPoint):
                found[name] = _summary(actions[point.action])
            elif isinstance(point, EntryPoint):
                found[name] = _summary(point)
            else:
                found[name] = first_line(point.load().__doc__ or "")
        return found


def command_name(action: str) -> str:
    """``BUILD_DEVICE`` is ``build-device`` on the command line."""
    return action.lower().replace("_", "-")


def first_line(text: str) -> str:
    """The first line of a docstring, without its full stop."""
    return text.strip().partition("\n")[0].rstrip(".")


def _summary(point: EntryPoint) -> str:
    return first_line(docstring(point)) or f"({point.value})"
