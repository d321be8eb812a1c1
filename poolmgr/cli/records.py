"""Records of the log, made fit to be written by any handler and formatter."""

import logging
import re
import traceback
from typing import Any

from poolmgr.text import lines, one_line
from poolmgr.tracing import current

# What YAML calls what it does not know; it may be part of a secret.
_YAML_WORD = re.compile(r"(alias|tag|character|token) +'.*?'(?=\s|$)")


def make_record(*args: Any, **more: Any) -> logging.LogRecord:
    """Make a record that is safe to write down; a factory for logging.

    Its message is one line, without control characters and known secrets,
    and so is each line of its traceback. Formats can use ``request_id``, "-"
    if there is none; ``request`` is the same in brackets, or empty.
    """
    record = logging.LogRecord(*args, **more)
    message = _message(record)
    if record.name.startswith("openstack.config"):
        # A password that begins with "*" is an alias to YAML.
        message = _YAML_WORD.sub(r"\1 ***", message)
    record.msg, record.args = one_line(message), None
    if record.exc_info and record.exc_info[0]:
        found = "".join(traceback.format_exception(*record.exc_info))
        record.exc_text = lines(found.rstrip("\n"))
    context = current()
    request_id = context.request_id if context else "-"
    said = context is None or request_id in record.msg
    vars(record).update(
        context=context,
        request_id=request_id,
        request="" if said else f"[{request_id}] ",
    )
    return record


def _message(record: logging.LogRecord) -> str:
    """A record's message, or what can be said of one that has a mistake."""
    try:
        return record.getMessage()
    except Exception as error:
        return (
            f"a log message of {record.pathname}:{record.lineno} cannot be "
            f"formatted: {type(error).__name__}"
        )
