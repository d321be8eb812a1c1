"""Options, the readers of their values, and errors on the command line.

A mistake is reported in one line, with a suggestion where there is one.
"""

import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from poolmgr.errors import ConfigError, PoolmgrError
from poolmgr.plugins import DRIVERS, entry_points
from poolmgr.text import one_line, parse_duration

#: Seconds; sockets cannot wait for an arbitrary number of them.
_YEAR = 31536000
#: How argparse reports an unknown option or argument.
UNKNOWN = "unrecognized arguments: "

#: Words of poolmgr's commands, and those that other clients use for them.
_SYNONYMS = {
    "build": "create make add new boot launch allocate",
    "delete": "destroy rm release remove",
    "assign": "attach associate move",
    "remove": "detach disassociate unassign",
    "device": "server instance",
    "ip": "address floating floatingip",
    "list": "ls",
    "show": "get describe info",
    "worker": "start run serve",
    "status": "queue",
    "reap": "gc purge cleanup",
}
_SERVICE = "leave it out, the worker stays in the foreground"
#: Options of Libra's own Pool Manager, and what to do instead.
_LIBRA_OPTIONS = {
    **dict.fromkeys(("-c", "--config"), "use --config-file"),
    **dict.fromkeys(("-l", "--logfile", "--log-dir"), "use --log-file"),
    **dict.fromkeys(("-n", "--nodaemon", "--daemon", "-p"), _SERVICE),
    **dict.fromkeys(("--pid", "--user", "--group", "--syslog"), _SERVICE),
    "--log-config": "use --log-config-append",
    "-d": "use --debug",
    "--gearman": "use --gearman-server",
}
#: Commands with these verbs are suggested only to users who typed the verb.
_DESTRUCTIVE = {"delete", "remove", "reap"}

#: The help of cliff's own options.
_HELP = {
    "--version": "show version",
    "--help": "show this help message and exit",
    "--verbose": "log more, repeatable",
    "--quiet": "log errors only",
    "--debug": "log everything, with tracebacks",
    "--log-file": "log to a file as well",
}


class UsageError(PoolmgrError, ValueError):
    """The command line is wrong."""

    code = "usage"


def report_in_one_line(parser: ArgumentParser) -> None:
    """Make a parser raise :class:`UsageError` instead of printing usage."""

    def error(message: str) -> NoReturn:
        if message.startswith(UNKNOWN):
            # The value may be a secret.
            word = re.split("[ =]", message.removeprefix(UNKNOWN))[0]
            message = f"unexpected argument {word!r}"
            # "-nd" is two options.
            option = word if word.startswith("--") else word[:2]
            may_be_worker = parser.prog in ("poolmgr", "poolmgr worker")
            instead = _LIBRA_OPTIONS.get(option)
            if instead and (instead != _SERVICE or may_be_worker):
                message += f"; {instead}"
            else:
                similar = _similar(word, parser._option_string_actions)
                message += _suggest(similar)
        raise UsageError(f"{one_line(message)}. See '{parser.prog} --help'")

    parser.error = error  # type: ignore[method-assign]
    # Python 3.14 colours help, and our streams would escape the colours.
    vars(parser)["color"] = False
    # argparse's own method ignores that nothing can be written.
    vars(parser)["_print_message"] = lambda text, file: file.write(text)


def unknown_command(words: Sequence[str], known: Iterable[str]) -> str:
    """Return the error for words that are not a command.

    :param words: the words of the command line up to the first option
    :param known: the names of all commands
    """
    names = [*sorted(known), "--version"]
    # The second word may be an argument.
    fitting = _fitting(words[:2], names) or _fitting(words[:1], names)
    has_verbs = any(name.startswith(f"{words[0]} ") for name in names)
    wrong = one_line(" ".join(words[: 1 + has_verbs]))
    suggested = _suggest(fitting)
    return f"{wrong!r} is not a command{suggested}. See 'poolmgr --help'"


def _fitting(typed: Iterable[str], names: Sequence[str]) -> Sequence[str]:
    """Return the commands that have all words typed, or what they mean."""
    words = _split(*typed)
    known = _split(*names, *_SYNONYMS.values())
    # A mistake must not lead to a deletion.
    harmless = [word for word in known if not _deletes({word})]
    meant = []
    for word in words:
        close = [word] if word in known else _similar(word, harmless)[:1]
        close = close or [each for each in harmless if each.startswith(word)]
        meant.append(_meanings({*close}))
    exact = [name for name in names if _split(name) == words]
    return exact or [
        name
        for name in names
        if words
        and all(each & _split(name) for each in meant)
        and (_deletes(words) or not _deletes(_split(name)))
    ]


def _split(*texts: str) -> set[str]:
    return {*re.findall("[^ _-]+", " ".join(texts).lower())}


def _meanings(words: set[str]) -> set[str]:
    """Return words, and poolmgr's own words for them."""
    return words | {own for own in _SYNONYMS if words & _split(_SYNONYMS[own])}


def _deletes(words: set[str]) -> bool:
    return bool(_meanings(words) & _DESTRUCTIVE)


def _similar(wrong: str, known: Iterable[str]) -> list[str]:
    """Return up to three similar names, the most similar first."""
    import difflib  # not needed for a correct command line

    return difflib.get_close_matches(wrong[:100], [*known], 3, 0.7)


def _suggest(names: Sequence[str]) -> str:
    return f" (did you mean {' or '.join(names)}?)" if names else ""


def add_options(parser: ArgumentParser) -> None:
    """Add poolmgr's options to those of cliff, and describe all alike."""
    add = parser.add_argument
    many: dict[str, Any] = {"action": "append", "default": []}
    add(
        "--config-file",
        metavar="FILE",
        type=not_empty,
        help="configuration file, repeatable; Libra's libra.cfg works "
        "too (default: poolmgr.conf in ~/.poolmgr, ~, /etc/poolmgr, /etc)",
        **many,
    )
    folder = "read all .conf files in this folder, repeatable"
    add("--config-dir", metavar="DIR", type=not_empty, help=folder, **many)
    add(
        "--driver",
        metavar="NAME",
        type=str.lower,
        choices=sorted({p.name.lower() for p in entry_points(DRIVERS)}),
        help="cloud driver: nova (default), fake, or one of 'plugin list'",
    )
    cloud = "cloud in clouds.yaml (default: [nova] cloud, or OS_CLOUD)"
    add("--os-cloud", metavar="NAME", type=not_empty, help=cloud)
    add(
        "--gearman-server",
        metavar="HOST:PORT",
        type=job_server,
        help="job server, repeatable (default: [gearman] servers)",
        **many,
    )
    format_ = "log format (default: [worker] log_format, or text)"
    add("--log-format", choices=["text", "json"], help=format_)
    whole = "file for logging.config.fileConfig, replaces other log options"
    add("--log-config-append", metavar="FILE", type=not_empty, help=whole)
    options = parser._option_string_actions
    options["--log-file"].metavar = "FILE"
    options["--log-file"].type = not_empty
    for name, text in _HELP.items():
        options[name].help = text


def positive(text: str) -> int:
    """Read a whole number of 1 or more."""
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"must be 1 or more, not {text[:100]!r}")
    return int(text)


def seconds(text: str) -> float:
    """Read a number of seconds greater than 0."""
    number = float(text) if text.replace(".", "", 1).isdecimal() else 0.0
    if not 0 < number <= _YEAR:
        limits = f"more than 0 and at most {_YEAR} seconds"
        raise ArgumentTypeError(f"must be {limits}, not {text[:100]!r}")
    return number


def duration(text: str) -> int:
    """Read a duration, such as ``10m``, as seconds."""
    try:
        # time.sleep() takes at most 292 years.
        return min(parse_duration(text), 100 * _YEAR)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def not_empty(text: str) -> str:
    """Read a name that must not be empty."""
    if not text.strip():
        raise ArgumentTypeError("must not be empty")
    return text


def job_server(address: str) -> str:
    """Read the address of a job server."""
    from poolmgr.gearman.endpoint import Address

    try:
        Address.parse(address)
    except ConfigError as error:
        raise ArgumentTypeError(str(error)) from None
    return address
