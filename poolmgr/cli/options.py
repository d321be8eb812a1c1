"""The options that stand before the command, and values of all options.

A reader of a value raises :class:`argparse.ArgumentTypeError` if a text is no
such value.
"""

import argparse
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from poolmgr.errors import PluginNotFound, PoolmgrError
from poolmgr.plugins import DRIVERS, entry_points
from poolmgr.text import one_line, parse_duration

T = TypeVar("T")

#: Seconds; asyncio's and a socket's timers cannot wait for any number.
_YEAR = 31536000


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

    @functools.wraps(read)
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
    from poolmgr.gearman import Address

    Address.parse(address)
    return address
