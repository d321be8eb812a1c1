"""Logging to standard error and to the file of ``--log-file``."""

import argparse
import logging
import logging.config
import os
import re
import sys
import threading
import time
from configparser import ConfigParser
from logging.handlers import WatchedFileHandler
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from poolmgr.errors import ConfigError
from poolmgr.events import EndedJob
from poolmgr.text import describe, lines, one_line
from poolmgr.tracing import current
from poolmgr.worker.signals import Interrupted

LOG = logging.getLogger("poolmgr.cli")

_FULL = logging.Formatter(
    "%(asctime)s %(levelname)s %(name)s: %(request)s%(message)s"
)

# YAML quotes what it does not know, which may be part of a secret.
_YAML_WORD = re.compile(r"(alias|tag|character|token) +'.*?'(?=\s|$)")

_console = logging.StreamHandler()
#: The handlers of the log; the one of ``--log-file`` is the first.
_handlers: list[logging.StreamHandler[Any]] = [_console]


class LogFile(WatchedFileHandler):
    """A handler that reopens its file after logrotate has moved it.

    A file that cannot be written is reported once, on standard error.
    """

    _error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        before, self._error = self._error, None
        try:
            super().emit(record)
        except OSError as error:  # the file cannot be opened again
            self._error = error
        if self._error and not before:
            LOG.error(
                "--log-file %r cannot be written: %s; lines are lost until it "
                "can be",
                self.baseFilename,
                describe(self._error),
            )
        elif before and not self._error:
            LOG.warning("--log-file %r is written again", self.baseFilename)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Note the error; logging calls this while it is handled."""
        self._error = sys.exception()


class _Message(logging.Formatter):
    """A formatter for the messages of commands, without time and level."""

    def format(self, record: logging.LogRecord) -> str:
        return f"poolmgr: {record.getMessage()}"


class JsonLines(JsonFormatter):
    """A formatter that writes each record as one line of JSON.

    The record of a job's end has the job's fields, too.
    """

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def add_fields(
        self, log_data: dict[str, Any], record: Any, message_dict: Any
    ) -> None:
        """Add the fields of a record to the object."""
        log_data |= {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.message,
        }
        if context := getattr(record, "context", None):
            log_data["request_id"] = context.request_id
            if context.job:
                log_data["action"] = one_line(context.action)
                for name in ("unique", "handle", "server"):
                    if value := getattr(context.job, name):
                        log_data[name] = one_line(value)
        if ended := getattr(record, "poolmgr_job", None):
            log_data |= _fields_of(ended)
        if record.exc_text:
            log_data["exception"] = record.exc_text


def _fields_of(ended: EndedJob) -> dict[str, Any]:
    outcome, failed = ended.outcome, ended.outcome.error is not None
    fields = {
        "outcome": "FAIL" if failed else "PASS",
        "duration": round(ended.seconds, 6),
        **ended.about,
    }
    if failed:
        fields["error"] = outcome.code
        fields["reason"] = one_line(outcome.reason)
        fields["retryable"] = outcome.retryable
    return fields


def make_record(*args: Any, **more: Any) -> logging.LogRecord:
    """Make a log record that is safe to write; a factory for logging.

    The message is one line, and so is each line of a traceback. Control
    characters are escaped, and known secrets masked. Formats can use
    ``request_id``, which is "-" without a request, and ``request``, which is
    the id in brackets, or empty.
    """
    record = logging.LogRecord(*args, **more)
    try:
        message = record.getMessage()
    except Exception as error:
        where, why = f"{record.pathname}:{record.lineno}", type(error)
        message = f"{where}: a log message cannot be formatted: {why}"
    if record.name.startswith("openstack.config"):
        # A password that begins with "*" is an alias to YAML.
        message = _YAML_WORD.sub(r"\1 ***", message)
    record.msg, record.args = one_line(message), None
    if record.exc_info and record.exc_info[0]:
        record.exc_text = lines(_FULL.formatException(record.exc_info))
    context = current()
    request_id = context.request_id if context else "-"
    is_shown = context is None or request_id in record.msg
    vars(record).update(
        context=context,
        request_id=request_id,
        request="" if is_shown else f"[{request_id}] ",
    )
    return record


def log_all() -> None:
    """Log everything that Python would write to standard error by itself.

    It would break the lines of a log that programs read.
    """
    # logging would print a traceback for each line that cannot be written.
    logging.raiseExceptions = False
    logging.setLogRecordFactory(make_record)
    _console.setStream(sys.stderr)
    _console.setFormatter(_Message())
    logging.getLogger().addHandler(_console)
    logging.captureWarnings(True)
    threading.excepthook = sys.unraisablehook = _log_unraised


def _log_unraised(failed: Any) -> None:
    """Log an error that ended a thread, or that Python ignored."""
    error, what = failed.exc_value, "an exception was ignored"
    if isinstance(error, Interrupted):  # a signal arrived in a destructor
        LOG.warning("%s: %s", error.number.name, error.detail)
        os._exit(128 + error.number)
    if thread := getattr(failed, "thread", None):
        what = f"thread {thread.name} has died"
    LOG.error("%s: %r", what, error, exc_info=error)


def configure(options: argparse.Namespace) -> None:
    """Set up logging before the command is known.

    :raises ConfigError: a file named by the options cannot be used
    """
    option, path = "--log-file", options.log_file
    if options.log_config_append:
        option, path = "--log-config-append", options.log_config_append
    try:
        if options.log_config_append:
            _read_config(path)
        elif path:
            # Only the file's owner may write it.
            os.umask(os.umask(0o022) | 0o022)
            _handlers.insert(0, LogFile(path))
            logging.getLogger().addHandler(_handlers[0])
    except Exception as error:  # a class named in the file can raise anything
        why = describe(error)
        own = (path, os.path.abspath(path))
        if isinstance(error, OSError) and error.filename in own:
            why = str(error.strerror)
        if isinstance(error, KeyError):
            why = f"it has no section or option {error}"
        raise ConfigError(
            f"{option} {one_line(path)!r} cannot be used: {why}"
        ) from None
    adjust(options)


def _read_config(path: str) -> None:
    """Set up logging as a file for Python's logging says."""
    config, root = ConfigParser(), logging.getLogger()
    with open(path) as file:
        config.read_file(file)
    try:
        logging.config.fileConfig(config, disable_existing_loggers=False)
    finally:
        # The errors of commands belong on standard error in any case.
        streams = [getattr(each, "stream", None) for each in root.handlers]
        if sys.stderr not in streams:
            _console.addFilter(lambda record: record.name == LOG.name)
            root.addHandler(_console)


def adjust(
    options: argparse.Namespace,
    service: bool = False,
    log_level: str = "",
    log_format: str = "",
) -> None:
    """Set level and format of the log.

    :param service: whether the command is a service, which logs what it does.
        Other commands log only problems.
    :param log_level: the level, unless an option sets it
    :param log_format: the format, unless an option sets it
    """
    if options.log_config_append:
        # Its author may not know that these libraries log secrets.
        _limit_libraries(logging.WARNING)
        return
    # cliff's level is 0 with -q, 1 without options, and 2 with -v.
    verbosity = options.verbose_level + service
    level = max(logging.ERROR - 10 * verbosity, logging.DEBUG)
    if log_level and options.verbose_level == 1:  # neither -v nor -q
        level = logging.getLevelNamesMapping()[log_level.upper()]
    if options.debug:
        level = logging.DEBUG
    is_json = (options.log_format or log_format) == "json"
    for handler in _handlers:
        handler.setFormatter(JsonLines() if is_json else _FULL)
    if not (service or options.debug or is_json):
        _console.setFormatter(_Message())
    logging.getLogger().setLevel(level)
    _limit_libraries(level)
    # A command reports a FAIL as its error. The lines for the job and for an
    # open circuit would repeat the error.
    repeats = level > logging.INFO and not service
    for name in ("poolmgr.jobs", "poolmgr.cloud.breaker"):
        silent = logging.CRITICAL if repeats else logging.NOTSET
        logging.getLogger(name).setLevel(silent)


def _limit_libraries(level: int) -> None:
    # At DEBUG keystoneauth logs request bodies, which contain secrets.
    for name in ("openstack", "urllib3", "requests", "stevedore"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # The error that follows a warning of keystoneauth contains it.
    logging.getLogger("keystoneauth").setLevel(logging.ERROR)


def descriptors() -> list[int]:
    """Return the descriptors of the log's files, --log-file first."""
    streams = [handler.stream for handler in _handlers]
    # A file that could not be opened has no stream.
    return [stream.fileno() for stream in streams if stream]
