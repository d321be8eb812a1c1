"""The options that stand before the command, and values of all options.

What reads a value raises :class:`argparse.ArgumentTypeError` if a text is no
such value.
"""

import argparse
from typing import NoReturn

from poolmgr.plugins import DRIVERS, entry_points
from poolmgr.text import one_line, parse_duration

#: Seconds; asyncio's and a socket's timers cannot wait for any number.
_YEAR = 31536000


def add_options(parser: argparse.ArgumentParser, version: str) -> None:
    """Add to cliff's own options those of poolmgr.

    :param parser: whose conflicts are resolved: an option that it has already
        is replaced
    :param version: what ``--version`` prints
    """
    add = parser.add_argument
    add(
        "--version",
        action="version",
        version=version,
        help="show the version and exit",
    )
    add(
        "--config-file",
        metavar="FILE",
        action="append",
        default=[],
        help="configuration file, repeatable; Libra's libra.cfg works "
        "too (default: poolmgr.conf in ~/.poolmgr, ~, /etc/poolmgr, /etc)",
    )
    add(
        "--config-dir",
        metavar="DIR",
        action="append",
        default=[],
        help="read all .conf files in this folder, repeatable",
    )
    _add_addresses(parser)
    _add_log(parser)


def _add_addresses(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--driver",
        type=driver,
        help="cloud driver: nova (the default), fake, or one from "
        "'plugin list'",
    )
    add(
        "--os-cloud",
        metavar="NAME",
        help="the cloud in clouds.yaml that the nova driver uses (default: "
        "[nova] cloud, or OS_CLOUD)",
    )
    add(
        "--gearman-server",
        metavar="HOST:PORT",
        type=job_server,
        action="append",
        help="job server, repeatable (default: [gearman] servers)",
    )


def _add_log(parser: argparse.ArgumentParser) -> None:
    known, add = parser._option_string_actions, parser.add_argument
    known["--help"].help = "show this help message and exit"
    known["--verbose"].help = "log more, repeatable"
    known["--quiet"].help = "log errors only"
    known["--debug"].help = "log everything, with tracebacks"
    add("--log-file", metavar="FILE", help="log to a file as well")
    add(
        "--log-format",
        choices=["text", "json"],
        help="log format (default: [worker] log_format, or text)",
    )
    add(
        "--log-config-append",
        metavar="FILE",
        help="configure logging from a file in the format of Python's "
        "logging.config.fileConfig; other log options are ignored",
    )


def positive(text: str) -> int:
    """A number that is 1 or more."""
    if not text.isdecimal() or not int(text):
        _refuse(f"must be 1 or more, not {one_line(text, 100)!r}")
    return int(text)


def seconds(text: str) -> float:
    """A number of seconds, more than 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= _YEAR:
        _refuse(
            f"must be more than 0 and at most {_YEAR} seconds, not "
            f"{one_line(text, 100)!r}"
        )
    return number


def duration(text: str) -> int:
    """A length of time, like ``10m``: seconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        _refuse(str(error))


def driver(name: str) -> str:
    """The name of a driver that is installed."""
    known = sorted({point.name for point in entry_points(DRIVERS)})
    if name.lower() not in map(str.lower, known):
        _refuse(
            f"no driver named {one_line(name)!r} is installed; choose one of: "
            f"{one_line(', '.join(known))}"
        )
    return name


def job_server(address: str) -> str:
    """The address of a job server."""
    from poolmgr.errors import ConfigError
    from poolmgr.gearman import Address

    try:
        Address.parse(address)
    except ConfigError as error:
        _refuse(str(error))
    return address


def _refuse(why: str) -> NoReturn:
    raise argparse.ArgumentTypeError(why)
