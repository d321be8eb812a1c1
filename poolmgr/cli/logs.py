"""Logging of the command line."""

import argparse
import logging
import os
import sys
import threading
from typing import TextIO

from poolmgr.cli.logfile import LogFile
from poolmgr.cli.output import Stream
from poolmgr.cli.records import make_record
from poolmgr.errors import ConfigError
from poolmgr.foreign import told
from poolmgr.settings import LogFormat, LogLevel
from poolmgr.text import one_line
from poolmgr.worker.signals import EARLY, Interrupted

LOG = logging.getLogger("poolmgr.cli")

_SERVICE = "%(asctime)s %(levelname)s %(name)s: %(request)s%(message)s"

#: ``verbose_level`` without -v and -q.
_USUAL = 1

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
        stream = self.stream
        if colour and isinstance(stream, Stream) and stream.has_colours:
            try:
                text = self.format(record) + self.terminator
                stream.write(text, paint=(f" {record.levelname} ", colour))
                self.flush()
            except Exception:
                self.handleError(record)
        else:
            super().emit(record)


class _Message(logging.Formatter):
    """What a command says: the message alone."""

    def format(self, record: logging.LogRecord) -> str:
        return f"poolmgr: {record.getMessage()}"


_console = _Console()


def log_all() -> None:
    """Have in the log what Python would write to standard error by itself.

    There it would break the lines of a log that programs read.
    """
    # It would be a traceback for each line that cannot be written.
    logging.raiseExceptions = False
    # Until the command line says how to log.
    _console.setFormatter(_Message())
    logging.getLogger().addHandler(_console)
    logging.captureWarnings(True)
    threading.excepthook = _thread_died
    sys.unraisablehook = _was_ignored


def _thread_died(died: threading.ExceptHookArgs) -> None:
    if issubclass(died.exc_type, SystemExit):
        return
    name = died.thread.name if died.thread else "?"
    error = died.exc_value
    LOG.error("thread %s has died: %r", name, error, exc_info=error)


def _was_ignored(ignored: "sys.UnraisableHookArgs") -> None:
    if isinstance(ignored.exc_value, Interrupted):
        # It came in a destructor, and Python has dropped it.
        number = ignored.exc_value.number
        LOG.warning("%s: %s", number.name, EARLY)
        os._exit(128 + number)
    LOG.error(
        "%s: %r",
        ignored.err_msg or "an exception was ignored",
        ignored.exc_value,
        exc_info=ignored.exc_value,
    )


def configure(options: argparse.Namespace, stderr: TextIO) -> None:
    """Set logging up before the command is known.

    :raises ConfigError: a file of the options cannot be used
    """
    root = logging.getLogger()
    logging.setLogRecordFactory(make_record)
    _console.setStream(stderr)
    if options.log_config_append:
        _read(options.log_config_append)
        return
    root.addHandler(_console)
    set_level(options, service=False)
    if options.log_file:
        try:
            to_file = LogFile(options.log_file, _complain)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigError(
                f"--log-file {one_line(options.log_file)!r} cannot be "
                f"written: {one_line(why)}"
            ) from None
        to_file.setFormatter(_formatter(options))
        root.addHandler(to_file)


def _read(path: str) -> None:
    """Have a file of logging's own say everything about the log.

    :raises ConfigError: it cannot be used
    """
    from logging.config import fileConfig

    try:
        with open(path) as file:
            fileConfig(file, disable_existing_loggers=False)
    except Exception as error:  # of whatever class the file names, too
        raise ConfigError(
            f"--log-config-append {one_line(path)!r} cannot be used: "
            f"{told(error)}"
        ) from None
    _limit_libraries(logging.WARNING)


def set_format(options: argparse.Namespace, configured: LogFormat) -> None:
    """Write the lines of a service as is configured, if no option says it."""
    options.log_format = options.log_format or configured
    handlers: list[logging.Handler] = [_console, *_files()]
    for handler in handlers:
        handler.setFormatter(_formatter(options))


def _formatter(
    options: argparse.Namespace, full: bool = True
) -> logging.Formatter:
    """What makes lines of records.

    :param full: whether a line of text has more than the message
    """
    if options.log_format == "json":
        from poolmgr.cli.jsonlines import JsonLines

        return JsonLines()
    return logging.Formatter(_SERVICE) if full else _Message()


def descriptors() -> list[int]:
    """The files that the log goes to, that of ``--log-file`` first."""
    return [*(file.fileno() for file in _files()), _console.stream.fileno()]


def reopen() -> None:
    """Open the file of ``--log-file`` anew."""
    for file in _files():
        file.reopen()


def _files() -> list[LogFile]:
    handlers = logging.getLogger().handlers
    return [each for each in handlers if isinstance(each, LogFile)]


def _complain(level: int, text: str) -> None:
    """Tell of the log file where it can be read."""
    _console.handle(
        make_record(LOG.name, level, __file__, 0, text, None, None)
    )


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
    if options.log_config_append:
        return
    wanted = options.verbose_level + (1 if service else 0)
    levels = [logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG]
    level = logging.DEBUG if options.debug else levels[min(wanted, 3)]
    if configured and not options.debug and options.verbose_level == _USUAL:
        level = logging.getLevelNamesMapping()[configured.upper()]
    _console.setFormatter(_formatter(options, service or options.debug))
    logging.getLogger().setLevel(level)
    _limit_libraries(level)
    # A command's FAIL is its error; the job's line would say it twice, and so
    # would the one of a circuit that opened.
    twice = level > logging.INFO
    for name in ("poolmgr.jobs", "poolmgr.cloud.breaker"):
        logging.getLogger(name).setLevel(
            logging.CRITICAL if twice and not service else logging.NOTSET
        )


def _limit_libraries(level: int) -> None:
    # At DEBUG keystoneauth logs bodies, with what is secret in them.
    for name in ("openstack", "urllib3", "requests", "stevedore"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # What it warns of is in the error that follows.
    logging.getLogger("keystoneauth").setLevel(logging.ERROR)
