"""The lines of the log: for people, and as JSON for programs."""

import copy
import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any

from poolmgr.text import lines, one_line
from poolmgr.tracing import Trail, current

if TYPE_CHECKING:
    from poolmgr.jobs.outcome import EndedJob

# What YAML calls what it does not know; it may be part of a secret.
_YAML_WORD = re.compile(r"(alias|tag|character|token) +'.*?'(?=\s|$)")


class TextLine(logging.Formatter):
    """One line an event, whatever is in the message.

    :param style: of the line, as of :class:`logging.Formatter`
    :param tracebacks: whether they follow, on lines of their own
    :param ids: whether a line of a job begins with its request id
    """

    def __init__(self, style: str, tracebacks: bool, ids: bool) -> None:
        super().__init__(style)
        self._tracebacks = tracebacks
        self._ids = ids

    def formatMessage(  # noqa: N802 - logging's own name
        self, record: logging.LogRecord
    ) -> str:
        message = harmless(record)
        trail = current() if self._ids else None
        if trail is not None and trail.request_id not in message:
            message = f"[{trail.request_id}] {message}"
        record.message = message
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - likewise
        """A traceback, with what errors say made as harmless."""
        return lines(super().formatException(ei))

    def format(self, record: logging.LogRecord) -> str:
        record = copy.copy(record)
        record.msg, record.args = _message(record), None
        # Another handler may have formatted it, and left it there.
        record.exc_text = None
        if not self._tracebacks:
            record.exc_info = None
        return super().format(record)


class JsonLine(logging.Formatter):
    """One JSON object a line; what a job's end tells are fields of it."""

    def format(self, record: logging.LogRecord) -> str:
        record.message = _message(record)
        fields: dict[str, object] = {
            "time": _time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": harmless(record),
        }
        ended: EndedJob | None = getattr(record, "poolmgr_job", None)
        trail = current() if ended is None else ended.trail
        if trail is not None:
            fields |= _of_trail(trail)
        if ended is not None:
            fields |= _of_end(ended)
        if record.exc_info:
            fields["exception"] = lines(self.formatException(record.exc_info))
        return json.dumps(fields)


def _message(record: logging.LogRecord) -> str:
    """A record's message, or what can be said of one that has a mistake."""
    try:
        return record.getMessage()
    except Exception as error:
        return (
            f"a log message of {record.pathname}:{record.lineno} cannot be "
            f"formatted: {type(error).__name__}"
        )


def harmless(record: logging.LogRecord) -> str:
    """A record's message on one line, without what is secret."""
    message = record.message
    if record.name.startswith("openstack.config"):
        # A password that begins with "*" is an alias to YAML.
        message = _YAML_WORD.sub(r"\1 ***", message)
    return one_line(message)


def _time(seconds: float) -> str:
    """ISO 8601 in UTC, with milliseconds."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03}Z"


def _of_trail(trail: Trail) -> dict[str, object]:
    fields = {"request_id": trail.request_id}
    if trail.job is not None:
        fields["action"] = one_line(trail.action)
        for name in ("unique", "handle", "server"):
            if value := getattr(trail.job, name):
                fields[name] = one_line(value)
    return dict(fields)


def _of_end(ended: "EndedJob") -> dict[str, object]:
    outcome = ended.outcome
    fields: dict[str, object] = {
        "outcome": "PASS" if outcome.error is None else "FAIL",
        "duration": round(ended.seconds, 6),
    }
    fields |= ended.about
    if outcome.error is not None:
        fields["error"] = outcome.code
        fields["reason"] = one_line(outcome.reason)
        fields["retryable"] = outcome.retryable
    return fields
