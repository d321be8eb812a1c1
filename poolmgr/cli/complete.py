"""``poolmgr complete``: a script that completes command lines in a shell."""

import re
from argparse import ArgumentParser, Namespace
from copy import deepcopy

import shtab

from poolmgr.cli.base import PoolmgrCommand

#: Completes a value whose name in the help is one of these.
_PATHS = {"FILE": shtab.FILE, "NEW": shtab.FILE, "DIR": shtab.DIRECTORY}
# A shell might evaluate other names.
_HARMLESS = re.compile(r"[A-Za-z0-9_-]+( [A-Za-z0-9_-]+)?")


class Complete(PoolmgrCommand):
    """Print a shell completion script.

    For bash, in ~/.bashrc or as a file of /etc/bash_completion.d:

    source <(poolmgr complete)

    For zsh, in ~/.zshrc, after compinit:

    eval "$(poolmgr complete --shell zsh)"

    The script knows the commands and drivers that are installed now; print it
    again after installing others.
    """

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the shell and the name to complete."""
        add, shells = parser.add_argument, ("bash", "zsh", "fish", "tcsh")
        which, typed = "which shell (default: bash)", "the command to complete"
        add("--shell", choices=shells, default="bash", help=which)
        add("--name", default="poolmgr", help=typed)

    def take_action(self, parsed_args: Namespace) -> int:
        """Print the script."""
        options = self.app.parser
        _prepare(options)
        root = deepcopy(options)
        root.prog = parsed_args.name
        nouns = {"": root.add_subparsers()}
        for summaries in self.app.command_manager.groups().values():
            for name in filter(_HARMLESS.fullmatch, summaries):
                noun, _blank, verb = name.rpartition(" ")
                if noun not in nouns:
                    verbs = nouns[""].add_parser(noun, help=f"{noun} commands")
                    nouns[noun] = verbs.add_subparsers()
                nouns[noun].add_parser(
                    verb,
                    help=summaries[name],
                    add_help=False,
                    conflict_handler="resolve",
                    # Global options may also follow the command.
                    parents=[deepcopy(options), self._parser(name)],
                )
        script = shtab.complete(root, parsed_args.shell)
        self.app.stdout.write(f"{script}\n")
        return 0

    def _parser(self, name: str) -> ArgumentParser:
        """Return a command's parser, an empty one if its plugin is broken."""
        try:
            found = self.app.command_manager.find_command(name.split())
            parser = found[0](self.app, None, cmd_name=name).get_parser(name)
        except Exception:
            return ArgumentParser(add_help=False)
        _prepare(parser)
        return parser


def _prepare(parser: ArgumentParser) -> None:
    """Prepare a parser for argparse's subparsers and for shtab."""
    for group in parser._action_groups:
        group.conflict_handler = "resolve"  # argparse has not cliff's own
    for action in parser._actions:
        if isinstance(action.metavar, str) and action.metavar in _PATHS:
            action.complete = _PATHS[action.metavar]  # type: ignore[attr-defined]
        if action.choices:
            names = map(str, action.choices)
            action.choices = [*filter(_HARMLESS.fullmatch, names)]
