"""Logging of the command line."""

import argparse
import copy
import logging
from typing import TextIO

from poolmgr.settings import LogLevel
from poolmgr.text import one_line

_COMMAND = "%(message)s"
_SERVICE = "%(asctime)s %(levelname)s %(name)s: %(message)s"

#: ``verbose_level`` without -v and -q.
_USUAL = 1

_console = logging.StreamHandler()


class _Formatter(logging.Formatter):
    """One line an event, whatever is in the message."""

    def __init__(self, style: str, tracebacks: bool) -> None:
        super().__init__(style)
        self._tracebacks = tracebacks

    def formatMessage(  # noqa: N802 - logging's own name
        self, record: logging.LogRecord
    ) -> str:
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        if not self._tracebacks:
            record = copy.copy(record)
            record.exc_info = record.exc_text = None
        return super().format(record)


def configure(options: argparse.Namespace, stderr: TextIO) -> None:
    """Set logging up before the command is known."""
    root = logging.getLogger()
    root.addHandler(_console)
    _console.setStream(stderr)
    set_level(options, service=False)
    if options.log_file:
        to_file = logging.FileHandler(options.log_file)
        to_file.setFormatter(_Formatter(_SERVICE, tracebacks=True))
        root.addHandler(to_file)


def descriptors() -> list[int]:
    """The files that the log goes to, that of ``--log-file`` first."""
    return [
        handler.stream.fileno()
        for handler in reversed(logging.getLogger().handlers)
        if isinstance(handler, logging.StreamHandler)
    ]


def set_level(
    options: argparse.Namespace,
    service: bool,
    configured: LogLevel | None = None,
) -> None:
    """Log as the options say, and as much as suits the command.

    :param service: whether the command is a service: its log is its voice.
        Others have data to show, and are silent unless something is wrong.
    :param configured: how much to log if no option says it
    """
    wanted = options.verbose_level + (1 if service else 0)
    levels = [logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG]
    level = logging.DEBUG if options.debug else levels[min(wanted, 3)]
    if configured and not options.debug and options.verbose_level == _USUAL:
        level = logging.getLevelNamesMapping()[configured.upper()]
    style = _SERVICE if service or options.debug else _COMMAND
    tracebacks = service or options.debug
    _console.setFormatter(_Formatter(style, tracebacks))
    logging.getLogger().setLevel(level)
    # At DEBUG keystoneauth logs bodies, with what is secret in them.
    for name in ("openstack", "urllib3", "stevedore"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # What it warns of is in the error that follows.
    logging.getLogger("keystoneauth").setLevel(logging.ERROR)
    # Old names of options matter to whoever keeps the file, once a start.
    if not service and level > logging.INFO:
        logging.getLogger("oslo_config").setLevel(logging.ERROR)
    # A command's FAIL is its error; the job's line would say it twice.
    twice = level > logging.INFO
    logging.getLogger("poolmgr.execution").setLevel(
        logging.CRITICAL if twice and not service else logging.NOTSET
    )
