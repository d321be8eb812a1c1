"""What is wrong with a command line, in one line."""

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

from poolmgr.text import one_line

_UNKNOWN = "unrecognized arguments: "
#: Verbs of what deletes.
_DELETING = {"delete", "remove", "reap", "destroy", "purge", "erase", "wipe"}
#: What other clients call to build.
_BUILDING = {"create", "make", "add", "new", "boot", "launch"}

_FOREGROUND = "leave it out, what starts the worker sees to this"
_LOG = "the log goes to standard error, and into the file of --log-file"

#: Options of Libra's own Pool Manager, and what to use.
_OF_LIBRA = {
    "-c": "use --config-file",
    "--config": "use --config-file",
    "-d": "use --debug",
    "-l": "use --log-file",
    "--logfile": "use --log-file",
    "-n": "leave it out, the worker stays in the foreground",
    "--nodaemon": "leave it out, the worker stays in the foreground",
    "--daemon": _FOREGROUND,
    "-p": _FOREGROUND,
    "--pid": _FOREGROUND,
    "--user": _FOREGROUND,
    "--group": _FOREGROUND,
    "--log-config": "use --log-config-append",
    "--log-dir": "use --log-file",
    "--use-syslog": _LOG,
    "--syslog": _LOG,
    "--syslog-log-facility": _LOG,
    "--gearman": "use --gearman-server",
}
_OF_FILES = re.compile(
    "--(az|node_basename|threads|datadir|(nova|gearman|rm_fip)_.*)"
)


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """`` (did you mean X or Y?)``, or nothing if nothing is near."""
    return _meant(_near(wrong, known))


def no_option(option: str, known: Iterable[str]) -> str:
    """That there is no such option, and which may be meant."""
    shown = one_line(option)
    if option[:2] != "--":
        shown = option = option[:2]  # the others may be merged with it
    if what := _OF_LIBRA.get(option):
        return f"there is no option {option}; {what}"
    if _OF_FILES.fullmatch(option):
        return (
            f"there is no option {shown}; put it into a configuration file, "
            f"under [mgm] as {shown[2:]}"
        )
    return f"there is no option {shown}{did_you_mean(option, known)}"


def no_command(words: Sequence[str], known: Iterable[str]) -> str:
    """What is wrong with words that should be a command.

    What deletes is proposed only to who has typed its verb.

    :param words: those of the command line, up to the first option
    :param known: the commands there are
    """
    # An action's name is spelt otherwise in messages.
    typed = [word.lower().replace("_", "-") for word in words[:2]]
    verb = _stem(typed[0])
    names = [
        name
        for name in sorted(known)
        if _stem(name) == verb or _stem(name) not in _DELETING
    ]
    if verb in _BUILDING:
        typed[0] = typed[0].replace(verb, "build", 1)
    first, both = typed[0], " ".join(typed)
    if first in names:
        return f"{words[0]!r} is no command{_meant([first])}"
    # "device" and "device lst"; then "biuld-device"; then "bulid".
    near = [name for name in names if _stem(name) == first]
    if near and " " in near[0]:
        return f"{' '.join(words[:2])!r} is no command{_meant(near)}"
    near = near or _near(both, names) or _near(first, names)
    if not near:
        stems = _near(first, {*map(_stem, names)})
        near = [name for name in names if _stem(name) in stems]
    return f"{words[0]!r} is no command{_meant(near)}"


def _stem(name: str) -> str:
    return re.split("[ -]", name)[0]


def _near(wrong: str, known: Iterable[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(wrong[:100], list(known), 3, 0.7)


def _meant(near: Sequence[str]) -> str:
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def complain_in_one_line(parser: argparse.ArgumentParser) -> None:
    """Have a parser say what is wrong in one line, with what may be meant."""

    def error(message: str) -> NoReturn:
        if message.startswith(_UNKNOWN):
            words = message.removeprefix(_UNKNOWN).split(" ")
            message = _unknown(words[0], parser)
        prog = parser.prog
        parser.exit(2, f"{prog}: {one_line(message)}. See '{prog} --help'\n")

    parser.error = error  # type: ignore[method-assign]


def _unknown(word: str, parser: argparse.ArgumentParser) -> str:
    option = word.partition("=")[0]
    if not option.startswith("-"):
        return f"{word!r} is one argument too many"
    return no_option(option, [*parser._option_string_actions])
