"""Mistakes on the command line: one line, with what may have been meant."""

import argparse
import re
from collections.abc import Collection, Iterable, Sequence
from typing import NoReturn

from poolmgr.errors import PoolmgrError
from poolmgr.text import one_line

#: How argparse complains of what it does not know.
UNKNOWN = "unrecognized arguments: "

#: What other clients call things, and our word for it.
_SYNONYMS = {
    **dict.fromkeys(("create", "make", "add", "new", "boot"), "build"),
    **dict.fromkeys(("launch", "allocate"), "build"),
    **dict.fromkeys(("destroy", "rm", "release"), "delete"),
    **dict.fromkeys(("attach", "associate", "move"), "assign"),
    **dict.fromkeys(("detach", "disassociate", "unassign"), "remove"),
    **dict.fromkeys(("devices", "server", "servers", "instance"), "device"),
    **dict.fromkeys(("ips", "address", "addresses"), "ip"),
    **dict.fromkeys(("plugins", "drivers", "actions"), "plugin"),
    **dict.fromkeys(("get", "describe", "info"), "show"),
    **dict.fromkeys(("start", "run", "serve"), "worker"),
    **dict.fromkeys(("queues", "queue", "top", "workers"), "status"),
    **dict.fromkeys(("gc", "purge", "cleanup"), "reap"),
    "completion": "complete",
    "ls": "list",
}
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


def report_in_one_line(parser: argparse.ArgumentParser) -> None:
    """Have a parser raise a mistake, with what to type instead."""

    def error(message: str) -> NoReturn:
        if message.startswith(UNKNOWN):
            word = message.removeprefix(UNKNOWN).split(" ")[0]
            message = f"unexpected argument {word!r}"
            if word.startswith("-"):
                message = _no_option(word, parser)
        raise UsageError(f"{one_line(message)}. See '{parser.prog} --help'")

    parser.error = error  # type: ignore[method-assign]
    # Since Python 3.14 help is coloured; our streams escape what colours it.
    vars(parser)["color"] = False


def require_columns(wanted: Iterable[str], names: Collection[str]) -> None:
    """Refuse columns that do not exist.

    :param wanted: those of ``-c``, in any spelling that cliff takes
    :raises UsageError: the first that does not
    """
    known = {_spelled(name) for name in names}
    for each in wanted:
        if _spelled(each) not in known:
            raise UsageError(
                f"there is no column {one_line(each, 100)!r}"
                f"{_meant(_similar(_spelled(each), known))}; choose of: "
                f"{one_line(', '.join(names))}"
            )


def _no_option(word: str, parser: argparse.ArgumentParser) -> str:
    """That an option does not exist, and which may have been meant."""
    option = word.partition("=")[0]
    if option[:2] != "--":
        option = option[:2]  # "-nv" is two options
    said = f"there is no option {one_line(option)}"
    if what := _OF_LIBRA.get(option):
        return f"{said}; {what}"
    return said + _meant(_similar(option, parser._option_string_actions))


def no_command(words: Sequence[str], known: Iterable[str]) -> str:
    """That words are no command, and which may have been meant.

    :param words: those of the command line, up to the first option
    :param known: the commands
    """
    verbs = [name for name in known if name.startswith(f"{words[0]} ")]
    both = _our_words(" ".join(words[:2]))
    first = _our_words(words[0])
    # A mistake must not lead to a deletion.
    names = {
        " ".join(_our_words(name)): name
        for name in sorted(known)
        if _our_words(name)[0] not in _DELETING - {*both}
    }

    def having(wanted: Sequence[str]) -> list[str]:
        return [n for ours, n in names.items() if {*wanted} <= {*ours.split()}]

    found = having(both) if len(both) > 1 else []
    found = found or sorted(verbs) or having(first)
    if not found:
        found = [names[ours] for ours in _similar(" ".join(first), names)]
    typed = " ".join(words[:2]) if verbs else words[0]
    said = f"{one_line(typed)!r} is not a command{_meant(found[:3])}"
    return f"{said}. See 'poolmgr --help'"


def _our_words(typed: str) -> list[str]:
    """The words of a command, as poolmgr's commands have them."""
    words = re.split("[ _-]+", typed.lower().replace("floating", " "))
    return [_SYNONYMS.get(word, word) for word in words if word] or [""]


def _spelled(name: str) -> str:
    return name.lower().strip().replace(" ", "_")


def _similar(wrong: str, known: Iterable[str]) -> list[str]:
    import difflib  # most command lines are right

    return difflib.get_close_matches(wrong[:100], [*known], 3, 0.7)


def _meant(names: Sequence[str]) -> str:
    return f" (did you mean {' or '.join(names)}?)" if names else ""
