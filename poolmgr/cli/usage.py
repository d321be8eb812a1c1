"""What stands on a command line: options, their values, and mistakes.

A mistake is told in one line, with what may have been meant. A reader of a
value raises :class:`argparse.ArgumentTypeError` if a text is no such value.
"""

import argparse
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NoReturn, TypeVar

from poolmgr.errors import PluginNotFound, PoolmgrError
from poolmgr.plugins import DRIVERS, entry_points
from poolmgr.text import one_line, parse_duration

T = TypeVar("T")

#: Seconds; asyncio's and a socket's timers cannot wait for any number.
_YEAR = 31536000
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


def add_options(parser: argparse.ArgumentParser, version: str) -> None:
    """Add to cliff's own options those of poolmgr.

    :param parser: whose conflicts are resolved: an option that it has already
        is replaced
    :param version: what ``--version`` prints
    """
    add = parser.add_argument
    add("--version", action="version", version=version, help="show version")
    many: dict[str, Any] = {"action": "append", "default": []}
    add(
        "--config-file",
        metavar="FILE",
        help="configuration file, repeatable; Libra's libra.cfg works "
        "too (default: poolmgr.conf in ~/.poolmgr, ~, /etc/poolmgr, /etc)",
        **many,
    )
    folder = "read all .conf files in this folder, repeatable"
    add("--config-dir", metavar="DIR", help=folder, **many)
    installed = "cloud driver: nova (default), fake, or one of 'plugin list'"
    add("--driver", type=driver, help=installed)
    cloud = "cloud in clouds.yaml (default: [nova] cloud, or OS_CLOUD)"
    add("--os-cloud", metavar="NAME", type=cloud_name, help=cloud)
    add(
        "--gearman-server",
        metavar="HOST:PORT",
        type=job_server,
        help="job server, repeatable (default: [gearman] servers)",
        **many,
    )
    known = parser._option_string_actions
    known["--help"].help = "show this help message and exit"
    known["--verbose"].help = "log more, repeatable"
    known["--quiet"].help = "log errors only"
    known["--debug"].help = "log everything, with tracebacks"
    add("--log-file", metavar="FILE", help="log to a file as well")
    format_ = "log format (default: [worker] log_format, or text)"
    add("--log-format", choices=["text", "json"], help=format_)
    whole = "file for logging.config.fileConfig, replaces other log options"
    add("--log-config-append", metavar="FILE", help=whole)


def _argument(read: Callable[[str], T]) -> Callable[[str], T]:
    """Have argparse show what a reader of texts finds wrong."""

    def read_argument(text: str) -> T:
        try:
            return read(text)
        except (ValueError, PoolmgrError) as error:
            raise argparse.ArgumentTypeError(one_line(str(error))) from None

    return read_argument


@_argument
def positive(text: str) -> int:
    """A number that is 1 or more."""
    if not text.isdecimal() or not int(text):
        raise ValueError(f"must be 1 or more, not {text[:100]!r}")
    return int(text)


@_argument
def seconds(text: str) -> float:
    """A number of seconds, more than 0."""
    number = float(text) if text.replace(".", "", 1).isdecimal() else 0.0
    if not 0 < number <= _YEAR:
        limits = f"more than 0 and at most {_YEAR} seconds"
        raise ValueError(f"must be {limits}, not {text[:100]!r}")
    return number


#: A length of time, like ``10m``: seconds.
duration = _argument(parse_duration)


@_argument
def driver(name: str) -> str:
    """The name of a driver that is installed."""
    known = sorted({point.name for point in entry_points(DRIVERS)})
    if name.lower() not in map(str.lower, known):
        raise PluginNotFound("driver", name, known)
    return name


@_argument
def cloud_name(name: str) -> str:
    """The name of a cloud."""
    if not name.strip():
        raise ValueError("is empty; name a cloud")
    return name


@_argument
def job_server(address: str) -> str:
    """The address of a job server."""
    from poolmgr.gearman.endpoint import Address

    Address.parse(address)
    return address
