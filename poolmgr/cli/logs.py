"""Logging of the command line: standard error, and the file of --log-file."""

import argparse
import logging
import logging.config
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from logging.handlers import WatchedFileHandler
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from poolmgr.errors import ConfigError
from poolmgr.events import EndedJob
from poolmgr.text import lines, one_line, told, words_of
from poolmgr.tracing import current
from poolmgr.worker.signals import Interrupted

LOG = logging.getLogger("poolmgr.cli")

#: By ``verbose_level``, which is 1 without -v and -q.
_LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
_USUAL = 1

_SERVICE = logging.Formatter(
    "%(asctime)s %(levelname)s %(name)s: %(request)s%(message)s"
)

# What YAML calls what it does not know; it may be part of a secret.
_YAML_WORD = re.compile(r"(alias|tag|character|token) +'.*?'(?=\s|$)")

_console = logging.StreamHandler()
#: Those that the log goes to, that of ``--log-file`` first.
_handlers: list[logging.StreamHandler[Any]] = [_console]


class LogFile(WatchedFileHandler):
    """Writes lines into the file that has the path now, so that logrotate
    can move the old one away.

    What cannot be written is told once, and costs neither a traceback nor the
    caller.
    """

    _is_failing = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        error = None
        try:
            self.reopenIfNeeded()
            self.stream = self.stream or self._open()
            self.stream.write(f"{self.format(record)}\n")
            self.flush()
        except Exception as caught:
            error = caught
        if self._is_failing == bool(error):
            return
        self._is_failing = bool(error)
        if error:
            LOG.error(
                "--log-file %r cannot be written: %s; lines are lost until it "
                "can be",
                self.baseFilename,
                getattr(error, "strerror", None) or words_of(error),
            )
        else:
            LOG.warning("--log-file %r is written again", self.baseFilename)


class _Message(logging.Formatter):
    """What a command says: the message alone."""

    def format(self, record: logging.LogRecord) -> str:
        return f"poolmgr: {record.getMessage()}"


class JsonLines(JsonFormatter):
    """One JSON object a line; what the end of a job tells are fields of it."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        """The fields of an event, instead of all that the record has."""
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
    """Make a record that is safe to write down; a factory for logging.

    Its message is one line, without control characters and known secrets,
    and so is each line of its traceback. Formats can use ``request_id``, "-"
    if there is none; ``request`` is the same in brackets, or empty.
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
        record.exc_text = lines(_SERVICE.formatException(record.exc_info))
    context = current()
    request_id = context.request_id if context else "-"
    said = context is None or request_id in record.msg
    vars(record).update(
        context=context,
        request_id=request_id,
        request="" if said else f"[{request_id}] ",
    )
    return record


def log_all() -> None:
    """Have in the log what Python would write to standard error by itself.

    There it would break the lines of a log that programs read.
    """
    # It would be a traceback for each line that cannot be written.
    logging.raiseExceptions = False
    # Until the command line says how to log.
    _console.setStream(sys.stderr)
    _console.setFormatter(_Message())
    logging.getLogger().addHandler(_console)
    logging.captureWarnings(True)
    threading.excepthook = sys.unraisablehook = _log_unraised


def _log_unraised(
    failed: "threading.ExceptHookArgs | sys.UnraisableHookArgs",
) -> None:
    """Log what ended a thread, or what Python dropped in a destructor."""
    error, thread = failed.exc_value, getattr(failed, "thread", None)
    if isinstance(error, Interrupted):
        LOG.warning("%s: %s", error.number.name, error.detail)
        os._exit(128 + error.number)
    if isinstance(error, SystemExit):
        return
    name = getattr(thread, "name", "?")
    what = f"thread {name} has died" if thread else "an exception was ignored"
    LOG.error("%s: %r", what, error, exc_info=error)


def configure(options: argparse.Namespace) -> None:
    """Set logging up before the command is known.

    :raises ConfigError: a file of the options cannot be used
    """
    logging.setLogRecordFactory(make_record)
    option, path = "--log-file", options.log_file
    if options.log_config_append:
        option, path = "--log-config-append", options.log_config_append
    try:
        if options.log_config_append:
            with open(path) as file:
                logging.config.fileConfig(file, disable_existing_loggers=False)
        elif path:
            # Only its owner can write it.
            os.umask(os.umask(0o022) | 0o022)
            _handlers.insert(0, LogFile(path))
            logging.getLogger().addHandler(_handlers[0])
    except Exception as error:  # of whatever class a file names, too
        raise ConfigError(
            f"{option} {one_line(path)!r} cannot be used: {told(error)}"
        ) from None
    adjust(options)


def adjust(
    options: argparse.Namespace,
    service: bool = False,
    log_level: str = "",
    log_format: str = "",
) -> None:
    """Log as the options say, and as much as suits the command.

    :param service: whether the command is a service: its log is its voice.
        Others have data to show, and are silent unless something is wrong.
    :param log_level: how much to log if no option says it
    :param log_format: how lines are written if no option says it
    """
    if options.log_config_append:
        _limit_libraries(logging.WARNING)
        return
    level = _LEVELS[min(options.verbose_level + service, 3)]
    if log_level and options.verbose_level == _USUAL:
        level = logging.getLevelNamesMapping()[log_level.upper()]
    if options.debug:
        level = logging.DEBUG
    is_json = (options.log_format or log_format) == "json"
    full = JsonLines() if is_json else _SERVICE
    for handler in _handlers:
        handler.setFormatter(full)
    if not (service or options.debug or is_json):
        _console.setFormatter(_Message())
    logging.getLogger().setLevel(level)
    _limit_libraries(level)
    # A command's FAIL is its error; the job's line would say it twice, and so
    # would the one of a circuit that opens.
    twice = level > logging.INFO and not service
    for name in ("poolmgr.jobs", "poolmgr.cloud.breaker"):
        silent = logging.CRITICAL if twice else logging.NOTSET
        logging.getLogger(name).setLevel(silent)


def _limit_libraries(level: int) -> None:
    # At DEBUG keystoneauth logs bodies, with what is secret in them.
    for name in ("openstack", "urllib3", "requests", "stevedore"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # What it warns of is in the error that follows.
    logging.getLogger("keystoneauth").setLevel(logging.ERROR)


def descriptors() -> Iterator[int]:
    """The files that the log goes to, that of ``--log-file`` first.

    Each has a number of its own until the next is asked for: the log may
    close its own meanwhile, and a connection may get that number.
    """
    for handler in _handlers:
        if stream := handler.stream:
            number = os.dup(stream.fileno())
            yield number
            os.close(number)
