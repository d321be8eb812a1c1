"""``poolmgr complete``: the completion of command lines, by a shell."""

import argparse
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from poolmgr.cli.base import PoolmgrCommand
from poolmgr.plugins import DRIVERS, entry_points

#: Metavars of what is a file or a folder.
_FILES = ("FILE", "NEW", "DIR")
#: What stands for a value that cannot be guessed, and for a file's name.
_ANY, _FILE = "-", "/"
# Anything else would be something to a shell.
_HARMLESS = re.compile(r"[A-Za-z0-9_.:/=-]+")

_SCRIPT = """\
# Completion of @name@ for @shell@, made by '@name@ complete'.
@prelude@_@function@_options() {
    case $1 in
@options@
    esac
}
_@function@_values() {
    case $1 in
@values@
    esac
}
# What an option takes; those before the command can stand after it, too.
_@function@_of() {
    local found=$(_@function@_values "$1 $2")
    [ -n "$found" ] || found=$(_@function@_values " $2")
    echo "$found"
}
_@function@() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local commands='@commands@'
    local cmd='' before='' word i=1 found
    COMPREPLY=()
    # The command so far; what options take is no part of it.
    while [ "$i" -lt "$COMP_CWORD" ]; do
        word=${COMP_WORDS[i]}
        i=$((i + 1))
        case $word in
            -*) [ -z "$(_@function@_of "$cmd" "$word")" ] || i=$((i + 1)) ;;
            *)
                case " $commands " in
                    *" ${cmd:+${cmd}_}$word "* | *" ${cmd:+${cmd}_}${word}_"*)
                        cmd=${cmd:+${cmd}_}$word ;;
                esac ;;
        esac
    done
    # "--option=value" is three words, or one.
    if [ "$cur" = "=" ]; then cur=''; fi
    if [ "$prev" = "=" ]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
    case $cur in
        --*=*)
            prev=${cur%%=*}
            before=$prev=
            cur=${cur#*=} ;;
    esac
    case $prev in
        -*) found=$(_@function@_of "$cmd" "$prev") ;;
        *) found='' ;;
    esac
    if [ -z "$found" ]; then
        case $cur in
            -*) found=$(_@function@_options "$cmd") ;;
            *)
                # The next word of a command, or what its arguments can be.
                for word in $commands; do
                    if [ -z "$cmd" ]; then found="$found ${word%%_*}"; else
                        case $word in "${cmd}_"*)
                            found="$found ${word#"${cmd}_"}" ;;
                        esac
                    fi
                done
                [ -n "$found" ] || found=$(_@function@_values "$cmd ") ;;
        esac
    fi
    case $found in
        @any@) ;;
        @file@)
            local IFS=$'\\n' # names have blanks
            compopt -o filenames 2>/dev/null # zsh has none
            COMPREPLY=($(compgen -P "$before" -f -- "$cur")) ;;
        *) COMPREPLY=($(compgen -P "$before" -W "$found" -- "$cur")) ;;
    esac
}
complete -F _@function@ @name@
"""
_ZSH = "autoload -U +X compinit && compinit -u\n"
_ZSH += "autoload -U +X bashcompinit && bashcompinit\n"


@dataclass
class Words:
    """What can follow on a command.

    :ivar options: its options
    :ivar values: what each of those that take something can be given; under
        an empty name what its arguments can be
    """

    options: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)


class Complete(PoolmgrCommand):
    """Print a script that has a shell complete command lines.

    For bash, in ~/.bashrc or as a file of /etc/bash_completion.d:

    source <(poolmgr complete)

    For zsh, in ~/.zshrc:

    source <(poolmgr complete --shell zsh)

    The script knows the commands and drivers that are installed now; make it
    again when others are.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """For what."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--shell",
            choices=("bash", "zsh"),
            default="bash",
            help="which shell (default: bash)",
        )
        parser.add_argument(
            "--name",
            type=_name,
            default="poolmgr",
            help="the name that is typed (default: %(default)s)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Print it."""
        words = {"": self._words(self.app.parser)}
        for name in self.app.command_manager.summaries():
            if _HARMLESS.fullmatch(name.replace(" ", "")):
                words[name] = self._words_of(name)
        shell = parsed_args.shell
        name = parsed_args.name
        self.app.stdout.write(script(words, name, shell))
        return 0

    def _words_of(self, command: str) -> Words:
        manager = self.app.command_manager
        try:
            factory, name, _rest = manager.find_command(command.split())
            parser = factory(self.app, None, cmd_name=name).get_parser(name)
        except Exception:
            return Words()  # of a plugin that is broken
        words = self._words(parser)
        if command == "help":
            words.values[""] = _harmless(n.split()[0] for n in manager.names())
        return words

    def _words(self, parser: argparse.ArgumentParser) -> Words:
        words = Words()
        for action in parser._actions:
            if action.help is argparse.SUPPRESS:
                continue
            options = [o for o in action.option_strings if o.startswith("--")]
            words.options += options
            if action.nargs == 0:
                continue
            value = _value(action)
            for option in action.option_strings:
                words.values[option] = value
            if not action.option_strings and value != _ANY:
                words.values[""] = value
        return words


def script(words: dict[str, Words], name: str, shell: str) -> str:
    """The script.

    :param words: what can follow on each command; on none under ``""``
    """
    options = _cases(
        (_key(command), " ".join(found.options))
        for command, found in words.items()
    )
    values = _cases(
        (f"{_key(command)} {option}", value)
        for command, found in words.items()
        for option, value in found.values.items()
    )
    parts = {
        "options": options,
        "values": values,
        "commands": " ".join(_key(command) for command in words if command),
        "prelude": _ZSH if shell == "zsh" else "",
        "function": re.sub(r"\W", "_", name),
        "name": name,
        "shell": shell,
        "any": _ANY,
        "file": _FILE,
    }
    return re.sub(r"@(\w+)@", lambda match: parts[match[1]], _SCRIPT)


def _value(action: argparse.Action) -> str:
    """What an option or an argument can be given."""
    if action.dest == "driver":
        return _harmless(point.name for point in entry_points(DRIVERS))
    if action.choices:
        return _harmless(map(str, action.choices)) or _ANY
    return _FILE if action.metavar in _FILES else _ANY


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text):
        raise argparse.ArgumentTypeError(
            f"must be letters, digits, '.', '-' and '_', not {text[:100]!r}"
        )
    return text


def _key(command: str) -> str:
    return command.replace(" ", "_")


def _harmless(words: Iterable[str]) -> str:
    fit = (word for word in words if _HARMLESS.fullmatch(word))
    return " ".join(sorted(set(fit)))


def _cases(pairs: Iterable[tuple[str, str]]) -> str:
    """Cases of a shell's ``case``; those with one answer together."""
    by_answer: dict[str, list[str]] = {}
    for key, answer in pairs:
        if answer:
            by_answer.setdefault(answer, []).append(f"'{key}'")
    return "\n".join(_lines(by_answer))


def _lines(by_answer: dict[str, list[str]]) -> Iterator[str]:
    for answer, keys in by_answer.items():
        yield f"        {' | '.join(keys)}) echo '{answer}' ;;"
