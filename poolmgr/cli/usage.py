"""Mistakes on the command line: one line, with what may have been meant."""

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

from poolmgr.errors import PoolmgrError
from poolmgr.text import one_line

#: The exit code of a mistake on the command line.
EXIT_USAGE = 2

_UNKNOWN = "unrecognized arguments: "

#: What other clients call things, and our word for it.
_SYNONYMS = {
    **dict.fromkeys(("create", "make", "add", "new", "boot"), "build"),
    **dict.fromkeys(("launch", "allocate"), "build"),
    **dict.fromkeys(("destroy", "erase", "rm", "release"), "delete"),
    **dict.fromkeys(("attach", "associate", "move"), "assign"),
    **dict.fromkeys(("detach", "disassociate", "unassign"), "remove"),
    **dict.fromkeys(("devices", "server", "servers", "instance"), "device"),
    **dict.fromkeys(("ips", "address", "addresses", "floatingip"), "ip"),
    **dict.fromkeys(("plugins", "drivers", "actions"), "plugin"),
    **dict.fromkeys(("settings", "options", "configuration"), "config"),
    **dict.fromkeys(("get", "describe", "info"), "show"),
    **dict.fromkeys(("start", "run", "serve", "daemon"), "worker"),
    **dict.fromkeys(("queues", "queue", "top", "workers"), "status"),
    **dict.fromkeys(("gc", "purge", "cleanup", "wipe"), "reap"),
    **dict.fromkeys(("send", "request"), "submit"),
    **dict.fromkeys(("validate", "verify"), "check"),
    "completion": "complete",
    "ls": "list",
}
#: What deletes is suggested only to those who typed such a word.
_DELETING = {"delete", "remove", "reap"}

_FOREGROUND = "leave it out, the worker stays in the foreground"
_SERVICE = "leave it out, this is up to the service manager"
_LOG = "the log goes to standard error and to --log-file"

#: Options of Libra's own Pool Manager, and what to use.
_OF_LIBRA = {
    **dict.fromkeys(("-c", "--config"), "use --config-file"),
    **dict.fromkeys(("-l", "--logfile", "--log-dir"), "use --log-file"),
    **dict.fromkeys(("-n", "--nodaemon"), _FOREGROUND),
    **dict.fromkeys(("-p", "--pid", "--daemon"), _SERVICE),
    **dict.fromkeys(("--user", "--group"), _SERVICE),
    "--log-config": "use --log-config-append",
    **dict.fromkeys(("--syslog", "--use-syslog"), _LOG),
    "--syslog-log-facility": _LOG,
    "-d": "use --debug",
    "--gearman": "use --gearman-server",
}
_OF_FILES = re.compile(
    "--(az|node_basename|threads|datadir|(nova|gearman|rm_fip)_.*)"
)


class UsageError(PoolmgrError):
    """The command line asks for something that does not exist."""

    code = "usage"


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """`` (did you mean X or Y?)``, or nothing if nothing is similar."""
    return _meant(_similar(wrong, known))


def no_option(option: str, known: Iterable[str]) -> str:
    """That an option does not exist, and which may have been meant."""
    shown = one_line(option)
    if option[:2] != "--":
        shown = option = option[:2]  # "-nv" is two options
    if what := _OF_LIBRA.get(option):
        return f"there is no option {option}; {what}"
    if _OF_FILES.fullmatch(option):
        return (
            f"there is no option {shown}; put it into a configuration file, "
            f"under [mgm] as {shown[2:]}"
        )
    return f"there is no option {shown}{did_you_mean(option, known)}"


def no_command(words: Sequence[str], known: Iterable[str]) -> str:
    """That words are no command, and which may have been meant.

    :param words: those of the command line, up to the first option
    :param known: the commands
    """
    first, typed = _parts(words[0]), _parts(" ".join(words[:2]))
    names = {name: name.replace("-", " ").split() for name in sorted(known)}
    for name, (verb, *_rest) in list(names.items()):
        if verb in _DELETING and verb not in typed:
            del names[name]
    nouns = [name for name in names if name.startswith(f"{first[0]} ")]
    alike = [name for name in names if first[0] in names[name]]
    found = (
        _same(typed, names)
        or _same(first, names)
        or nouns
        or (alike if len(first) == 1 else [])
        or _similar(" ".join(words[:2]), names)
        or _similar(words[0], names)
    )
    if not found:
        verbs = _similar(first[0], {parts[0] for parts in names.values()})
        found = [name for name in names if names[name][0] in verbs]
    shown = " ".join(words[: 2 if nouns else 1])
    return f"{shown!r} is no command{_meant(found)}"


def _parts(typed: str) -> list[str]:
    """The words of a command as we call them."""
    words = re.split("[ _-]+", typed.lower().replace("floating", ""))
    return [_SYNONYMS.get(word, word) for word in words if word] or [""]


def _same(typed: Sequence[str], names: dict[str, list[str]]) -> list[str]:
    """Commands of the same words, in whatever order."""
    wanted = sorted(typed)
    return [name for name, parts in names.items() if sorted(parts) == wanted]


def _similar(wrong: str, known: Iterable[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(wrong[:100], list(known), 3, 0.7)


def _meant(found: Sequence[str]) -> str:
    return f" (did you mean {' or '.join(found)}?)" if found else ""


def require_driver(name: str) -> None:
    """Refuse the name of a driver that is not installed.

    :raises UsageError: there is no such driver
    """
    from poolmgr.plugins import DRIVERS, entry_points

    known = sorted({point.name for point in entry_points(DRIVERS)})
    if name.lower() not in {each.lower() for each in known}:
        raise UsageError(
            f"--driver: no driver named {one_line(name)!r} is installed; "
            f"choose one of: {one_line(', '.join(known))}"
        )


def prepare(parser: argparse.ArgumentParser) -> None:
    """Have a parser report a mistake in one line, and suggest what to type."""

    def error(message: str) -> NoReturn:
        if message.startswith(_UNKNOWN):
            words = message.removeprefix(_UNKNOWN).split(" ")
            message = _unknown(words[0], parser)
        parser.exit(EXIT_USAGE, complaint(message, parser.prog))

    parser.error = error  # type: ignore[method-assign]
    # Since Python 3.14 help is coloured; our streams escape what colours it.
    vars(parser)["color"] = False


def complaint(message: str, prog: str) -> str:
    """The line for a mistake on the command line.

    :param prog: whose ``--help`` to read
    """
    return f"poolmgr: {one_line(message)}. See '{prog} --help'\n"


def _unknown(word: str, parser: argparse.ArgumentParser) -> str:
    option = word.partition("=")[0]
    if not option.startswith("-"):
        return f"{word!r} is one argument too many"
    return no_option(option, [*parser._option_string_actions])
