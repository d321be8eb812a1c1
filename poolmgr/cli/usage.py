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

#: What deletes is suggested only to those who typed its verb.
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
    import difflib

    found = difflib.get_close_matches(wrong[:100], list(known), 3, 0.7)
    return f" (did you mean {' or '.join(found)}?)" if found else ""


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
    """That words are no command, and which may have been meant.

    :param words: those of the command line, up to the first option
    :param known: the commands
    """
    has_verbs = any(name.startswith(f"{words[0]} ") for name in known)
    typed = " ".join(words[:2]) if has_verbs else words[0]
    wanted = typed.lower().replace("_", "-")
    without = _DELETING - {_verb(wanted)}
    names = sorted(name for name in known if _verb(name) not in without)
    return f"{one_line(typed)!r} is no command{did_you_mean(wanted, names)}"


def _verb(command: str) -> str:
    return re.split("[ -]", command)[0]


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
