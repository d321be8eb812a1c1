"""Mistakes on the command line: one line, with what may have been meant."""

import argparse
import re
from collections.abc import Collection, Iterable, Sequence
from typing import NoReturn

from poolmgr.errors import PoolmgrError
from poolmgr.text import one_line

#: The exit code of a mistake on the command line.
EXIT_USAGE = 2

_UNKNOWN = "unrecognized arguments: "

#: What other clients call things, and our word for it.
_SYNONYMS = {
    word: ours
    for ours, words in {
        "build": "create make add new boot launch allocate",
        "delete": "destroy erase rm release",
        "assign": "attach associate move",
        "remove": "detach disassociate unassign",
        "device": "devices server servers instance",
        "ip": "ips address addresses floatingip",
        "plugin": "plugins drivers actions",
        "config": "settings options configuration",
        "show": "get describe info",
        "worker": "start run serve daemon",
        "status": "queues queue top workers",
        "reap": "gc purge cleanup wipe",
        "submit": "send request",
        "check": "validate verify",
        "complete": "completion",
        "list": "ls",
    }.items()
    for word in words.split()
}
#: What deletes is suggested only to those who typed such a word.
_DELETING = {"delete", "remove", "reap"}

_SERVICE = "leave it out: the worker stays in the foreground"
#: Options of Libra's own Pool Manager, and what to use.
_OF_LIBRA = {
    **dict.fromkeys(("-c", "--config"), "use --config-file"),
    **dict.fromkeys(("-l", "--logfile", "--log-dir"), "use --log-file"),
    **dict.fromkeys(("-n", "--nodaemon", "--daemon", "-p"), _SERVICE),
    **dict.fromkeys(("--pid", "--user", "--group", "--syslog"), _SERVICE),
    "--log-config": "use --log-config-append",
    "-d": "use --debug",
    "--gearman": "use --gearman-server",
}


class UsageError(PoolmgrError):
    """The command line asks for something that does not exist."""

    code = "usage"


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """`` (did you mean X or Y?)``, or nothing if nothing is similar."""
    return _meant(_similar(wrong, known))


def require_columns(wanted: Iterable[str], names: Collection[str]) -> None:
    """Refuse columns that do not exist.

    :param wanted: those of ``-c``, in any spelling that cliff takes
    :raises UsageError: the first that does not
    """
    known = {_spelled(name): name for name in names}
    for each in wanted:
        if _spelled(each) not in known:
            raise UsageError(
                f"there is no column {one_line(each, 100)!r}"
                f"{did_you_mean(_spelled(each), known)}; choose of: "
                f"{one_line(', '.join(names))}"
            )


def no_option(option: str, known: Iterable[str]) -> str:
    """That an option does not exist, and which may have been meant."""
    if option[:2] != "--":
        option = option[:2]  # "-nv" is two options
    shown = one_line(option)
    if what := _OF_LIBRA.get(option):
        return f"there is no option {shown}; {what}"
    return f"there is no option {shown}{did_you_mean(option, known)}"


def no_command(words: Sequence[str], known: Collection[str]) -> str:
    """That words are no command, and which may have been meant: commands
    with a similar word for each of those that were typed.

    :param words: those of the command line, up to the first option
    :param known: the commands
    """
    typed = " ".join(words[:2])
    names = {name: re.split("[ -]", name) for name in sorted(known)}
    for wanted in (_words(typed), _words(words[0])):
        found = [
            name
            for name, parts in names.items()
            if (parts[0] not in _DELETING or parts[0] in wanted)
            and all(_similar(word, parts) for word in wanted)
        ]
        if found:
            break
    has_verbs = any(name.startswith(f"{words[0]} ") for name in known)
    shown = typed if has_verbs else words[0]
    return f"{one_line(shown)!r} is no command{_meant(found)}"


def _words(typed: str) -> list[str]:
    """The words of a command as we call them."""
    words = re.split("[ _-]+", typed.lower().replace("floating", ""))
    return [_SYNONYMS.get(word, word) for word in words if word] or [""]


def _similar(wrong: str, known: Iterable[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(wrong[:100], list(known), 3, 0.7)


def _meant(found: Sequence[str]) -> str:
    return f" (did you mean {' or '.join(found)}?)" if found else ""


def _spelled(name: str) -> str:
    return name.lower().strip().replace(" ", "_")


def prepare(parser: argparse.ArgumentParser) -> None:
    """Have a parser report a mistake in one line, and suggest what to type."""

    def error(message: str) -> NoReturn:
        if message.startswith(_UNKNOWN):
            word = message.removeprefix(_UNKNOWN).split(" ")[0]
            message = f"{word!r} is one argument too many"
            if word.startswith("-"):
                option = word.partition("=")[0]
                message = no_option(option, parser._option_string_actions)
        parser.exit(EXIT_USAGE, complaint(message, parser.prog))

    parser.error = error  # type: ignore[method-assign]
    # Since Python 3.14 help is coloured; our streams escape what colours it.
    vars(parser)["color"] = False


def complaint(message: str, prog: str) -> str:
    """The line for a mistake on the command line.

    :param prog: whose ``--help`` to read
    """
    return f"poolmgr: {one_line(message)}. See '{prog} --help'\n"
