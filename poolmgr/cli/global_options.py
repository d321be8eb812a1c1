"""The options that stand before the command."""

import argparse

from poolmgr.cli import arguments


def option_parser(name: str, version: str) -> argparse.ArgumentParser:
    """The parser of the options.

    :param name: the program's name
    :param version: what ``--version`` prints
    """
    parser = argparse.ArgumentParser(
        prog=name,
        add_help=False,
        # "--d" would be --driver today, and --debug tomorrow.
        allow_abbrev=False,
        usage="%(prog)s [options] command [arguments]",
    )
    parser.add_argument(
        "-h",
        "--help",
        dest="deferred_help",
        action="store_true",
        help="show this",
    )
    parser.add_argument(
        "--version", action="version", version=version, help="show the version"
    )
    _add_configuration(parser)
    _add_log(parser)
    return parser


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config-file",
        metavar="FILE",
        action="append",
        default=[],
        help="configuration file, repeatable; Libra's libra.cfg will do "
        "(default: poolmgr.conf in ~/.poolmgr, ~, /etc/poolmgr, /etc)",
    )
    parser.add_argument(
        "--config-dir",
        metavar="DIR",
        action="append",
        default=[],
        help="folder whose .conf files are read, repeatable",
    )
    parser.add_argument(
        "--driver",
        help="what talks to the cloud: 'nova' (the default), 'fake', or "
        "see 'plugin list'",
    )
    parser.add_argument(
        "--os-cloud",
        metavar="NAME",
        help="the cloud in clouds.yaml that Nova's driver uses (default: "
        "[nova] cloud, or OS_CLOUD)",
    )
    parser.add_argument(
        "--gearman-server",
        metavar="HOST:PORT",
        type=arguments.job_server,
        action="append",
        help="job server, repeatable",
    )


def _add_log(parser: argparse.ArgumentParser) -> None:
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument(
        "-v",
        "--verbose",
        action="count",
        dest="verbose_level",
        default=1,
        help="log more, repeatable",
    )
    loudness.add_argument(
        "-q",
        "--quiet",
        action="store_const",
        dest="verbose_level",
        const=0,
        help="log errors only",
    )
    parser.add_argument(
        "--log-file", metavar="FILE", help="log to a file as well"
    )
    parser.add_argument(
        "--log-format",
        choices=["text", "json"],
        help="how the log is written (default: text, or [worker] log_format)",
    )
    parser.add_argument(
        "--log-config-append",
        metavar="FILE",
        help="set all of the log up by a file, as Python's "
        "logging.config.fileConfig reads it; no other option of the log has "
        "an effect then",
    )
    parser.add_argument(
        "--debug", action="store_true", help="log everything, show tracebacks"
    )
