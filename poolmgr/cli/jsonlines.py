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


def _fields_of(ended: EndedJob) -> dict[str, object]:
    outcome = ended.outcome
    duration = round(ended.seconds, 6)
    if outcome.error is None:
        return {"outcome": "PASS", "duration": duration, **ended.about}
    return {
        "outcome": "FAIL",
        "duration": duration,
        **ended.about,
        "error": outcome.code,
        "reason": one_line(outcome.reason),
        "retryable": outcome.retryable,
    }
