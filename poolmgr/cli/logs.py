"""Logging of the command line."""

import argparse
import copy
import logging
import os
import re
from io import TextIOWrapper
from typing import Any, TextIO

from poolmgr.cli.output import Stream
from poolmgr.cli.terminal import has_colours
from poolmgr.errors import ConfigError
from poolmgr.settings import LogLevel
from poolmgr.text import lines, one_line

_COMMAND = "%(message)s"
_SERVICE = "%(asctime)s %(levelname)s %(name)s: %(message)s"

#: ``verbose_level`` without -v and -q.
_USUAL = 1
# What YAML calls what it does not know; it may be part of a secret.
_YAML_WORD = re.compile(r"(alias|tag|character|token) +'.*?'(?=\s|$)")

# A terminal's colours: red, yellow, and faint.
_COLOURS = {
    logging.CRITICAL: "31;1",
    logging.ERROR: "31;1",
    logging.WARNING: "33",
    logging.DEBUG: "2",
}


class _Console(logging.StreamHandler[TextIO]):
    """Standard error; a terminal has the level of a line in colour."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        colour = _COLOURS.get(record.levelno)
        word = f" {record.levelname} "
        stream = self.stream
        if colour and isinstance(stream, Stream) and has_colours(stream):
            try:
                text = self.format(record) + self.terminator
                stream.write(text, paint=(word, colour))
                self.flush()
            except Exception:
                self.handleError(record)
        else:
            super().emit(record)


_console = _Console()


class _File(logging.FileHandler):
    """A log file that only its owner can write, whatever the umask."""

    def _open(self) -> TextIOWrapper:
        opened = open(  # noqa: SIM115 - logging closes it
            self.baseFilename,
            self.mode,
            encoding="utf-8",
            errors="backslashreplace",
            opener=lambda path, flags: os.open(path, flags, 0o644),
        )
        assert isinstance(opened, TextIOWrapper)  # noqa: S101 - it is text
        return opened


class _Formatter(logging.Formatter):
    """One line an event, whatever is in the message."""

    def __init__(self, style: str, tracebacks: bool) -> None:
        super().__init__(style)
        self._tracebacks = tracebacks

    def formatMessage(  # noqa: N802 - logging's own name
        self, record: logging.LogRecord
    ) -> str:
        message = record.message
        if record.name.startswith("openstack.config"):
            # A password that begins with "*" is an alias to YAML.
            message = _YAML_WORD.sub(r"\1 ***", message)
        record.message = one_line(message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - likewise
        """A traceback, with what errors say made as harmless."""
        return lines(super().formatException(ei))

    def format(self, record: logging.LogRecord) -> str:
        record = copy.copy(record)
        # Another handler may have formatted it, and left it there.
        record.exc_text = None
        if not self._tracebacks:
            record.exc_info = None
        return super().format(record)


def configure(options: argparse.Namespace, stderr: TextIO) -> None:
    """Set logging up before the command is known.

    :raises ConfigError: the log file cannot be opened
    """
    root = logging.getLogger()
    root.addHandler(_console)
    _console.setStream(stderr)
    set_level(options, service=False)
    if options.log_file:
        try:
            to_file = _File(options.log_file)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigError(
                f"--log-file {one_line(options.log_file)!r} cannot be "
                f"written: {one_line(why)}"
            ) from None
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
    for name in ("openstack", "urllib3", "requests", "stevedore"):
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
