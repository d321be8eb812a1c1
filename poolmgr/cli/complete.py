"""``poolmgr complete``: a script that completes command lines in a shell."""

import argparse
import re
from copy import deepcopy

import shtab

from poolmgr.cli.base import PoolmgrCommand
from poolmgr.plugins import DRIVERS, entry_points

#: What completes a value, by the name that help has for it.
_PATHS = {"FILE": shtab.FILE, "NEW": shtab.FILE, "DIR": shtab.DIRECTORY}
# Anything else could be something to a shell.
_HARMLESS = re.compile(r"[A-Za-z0-9_-]+( [A-Za-z0-9_-]+)?")
#: zsh needs its completion switched on; what ~/.zshrc did stays as it is.
_ZSH = (
    "(( $+functions[compdef] )) || { autoload -U +X compinit && compinit -u; }"
)


class Complete(PoolmgrCommand):
    """Print a shell completion script.

    For bash, in ~/.bashrc or as a file of /etc/bash_completion.d:

    source <(poolmgr complete)

    For zsh, in ~/.zshrc:

    source <(poolmgr complete --shell zsh)

    The script knows the commands and drivers that are installed now; print it
    again after installing others.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """For what."""
        add, shells = parser.add_argument, ("bash", "zsh", "fish", "tcsh")
        which, typed = "which shell (default: bash)", "the command to complete"
        add("--shell", choices=shells, default="bash", help=which)
        add("--name", type=_name, default="poolmgr", help=typed)

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Print it."""
        shell = parsed_args.shell
        options = self.app.parser
        _complete(options)
        root = deepcopy(options)
        root.prog = parsed_args.name
        nouns = {"": root.add_subparsers()}
        for summaries in self.app.command_manager.groups().values():
            for name in filter(_HARMLESS.fullmatch, summaries):
                noun, _blank, verb = name.rpartition(" ")
                if noun not in nouns:
                    verbs = nouns[""].add_parser(noun, help="more")
                    nouns[noun] = verbs.add_subparsers()
                nouns[noun].add_parser(
                    verb,
                    help=summaries[name],
                    add_help=False,
                    conflict_handler="resolve",
                    # Global options can follow the command, too.
                    parents=[deepcopy(options), self._parser(name)],
                )
        preamble = _ZSH if shell == "zsh" else ""
        script = shtab.complete(root, shell, preamble=preamble)
        # As it is, zsh could read the script by "eval" only.
        script = script.replace(
            "zsh_eval_context[-1] == eval",
            "zsh_eval_context[-1] == (eval|file)",
        )
        self.app.stdout.write(f"{script}\n")
        return 0

    def _parser(self, name: str) -> argparse.ArgumentParser:
        """The parser of a command; an empty one if its plugin is broken."""
        manager = self.app.command_manager
        try:
            factory, name, _rest = manager.find_command(name.split())
            command = factory(self.app, None, cmd_name=name)
            parser = command.get_parser(name)
        except Exception:
            return argparse.ArgumentParser(add_help=False)
        _complete(parser)
        for action in parser._actions:
            if action.dest == "columns":
                columns = getattr(command, "columns", ())
                action.choices = [name.replace(" ", "_") for name in columns]
            elif action.dest == "cmd":  # of help
                words = {each.split()[0] for each in manager.commands}
                action.choices = sorted(words)
        return parser


def _complete(parser: argparse.ArgumentParser) -> None:
    """Have a parser know what its values can be."""
    for group in parser._action_groups:
        group.conflict_handler = "resolve"  # argparse has not cliff's own
    for action in parser._actions:
        if isinstance(action.metavar, str) and action.metavar in _PATHS:
            action.complete = _PATHS[action.metavar]  # type: ignore[attr-defined]
        elif action.dest == "driver":
            names = {point.name for point in entry_points(DRIVERS)}
            action.choices = sorted(filter(_HARMLESS.fullmatch, names))


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text):
        raise argparse.ArgumentTypeError(
            f"must be letters, digits, '.', '-' and '_', not {text[:100]!r}"
        )
    return text
