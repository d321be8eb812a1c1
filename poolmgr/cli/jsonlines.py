"""The log as JSON, one object a line."""

import logging
import time
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from poolmgr.events import EndedJob
from poolmgr.text import one_line


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
        ended: EndedJob | None = getattr(record, "poolmgr_job", None)
        context = getattr(record, "context", None)
        if context:
            log_data["request_id"] = context.request_id
        if context and context.job:
            log_data["action"] = one_line(context.action)
            for name in ("unique", "handle", "server"):
                if value := getattr(context.job, name):
                    log_data[name] = one_line(value)
        if ended:
            log_data |= _of_end(ended)
        if record.exc_text:
            log_data["exception"] = record.exc_text


def _of_end(ended: EndedJob) -> dict[str, object]:
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
