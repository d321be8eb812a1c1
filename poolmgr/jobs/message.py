"""The wire: bytes or a mapping become a message, an outcome an answer.

A message is one JSON object; its answer is the same object with what the
action adds and ``"response": "PASS"`` or ``"FAIL"``.  See "The wire" in the
documentation.
"""

import json
import re
from collections.abc import Mapping

from poolmgr.errors import InvalidMessage

#: Longest payload taken, in bytes.  The largest documented request has 120.
MAX_BYTES = 1024 * 1024
#: Deepest nesting of objects and lists taken.
MAX_DEPTH = 100
#: Longest JSON text that an action may add to an answer, in characters.
MAX_ADDED = 16 * MAX_BYTES

PASS = "PASS"  # noqa: S105 - a verdict, not a password
FAIL = "FAIL"

Message = dict[str, object]

# A string (left alone, even when it never ends) or a comma before a closing
# bracket.  Neither alternative can be entered twice for the same character,
# so the time is linear in the payload's length.
_TRAILING_COMMA = re.compile(
    r'"(?:[^"\\]|\\.)*+(?:"|\Z)|,(?=\s*+[}\]])', re.DOTALL
)


def decode(message: object) -> Message:
    """Take a message in any form a caller may have it.

    :param message: the payload as bytes, its text, or a mapping
    :returns: a new dict, the message's own fields unchanged
    :raises InvalidMessage: for everything that is not one JSON object
        within :data:`MAX_BYTES` and :data:`MAX_DEPTH`
    """
    if isinstance(message, (bytes, bytearray, memoryview)):
        message = _text_of(bytes(message))
    if isinstance(message, str):
        message = _value_of(message)
    if not isinstance(message, Mapping):
        kind = type(message).__name__
        raise InvalidMessage(f"a message must be a JSON object, not {kind}")
    fields = dict(message)
    if not all(isinstance(name, str) for name in fields):
        raise InvalidMessage("the name of a field is not text")
    return fields


def encode(answer: Message) -> bytes:
    """The answer as it goes over the wire: ASCII, one line."""
    return json.dumps(answer).encode("ascii")


def snapshot(fields: object) -> Message:
    """A copy of somebody's fields that nothing can change any more.

    :returns: what they are for whoever reads them from the wire
    :raises Exception: they are no JSON object within the limits, or one of
        their objects raises
    """
    if not isinstance(fields, Mapping):
        raise TypeError(f"{type(fields).__name__} is not a mapping")
    text = json.dumps(dict(fields), allow_nan=False)
    if len(text) > MAX_ADDED:
        raise ValueError(f"it has more than {MAX_ADDED} characters")
    copied: Message = json.loads(text)
    _check_depth(copied)
    return copied


def _text_of(payload: bytes) -> str:
    if len(payload) > MAX_BYTES:
        raise InvalidMessage(
            f"the payload has {len(payload)} bytes; "
            f"at most {MAX_BYTES} are taken"
        )
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidMessage(f"the payload is not UTF-8: {error}") from None


def _value_of(text: str) -> object:
    try:
        # The document's own BUILD_IP example ends with a comma.
        value = json.loads(_TRAILING_COMMA.sub(_keep_strings, text))
        json.dumps(value, allow_nan=False)  # for it is sent back
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(f"the payload is not JSON: {error}") from None
    _check_depth(value)
    return value


def _keep_strings(match: re.Match[str]) -> str:
    return "" if match[0] == "," else match[0]


def _check_depth(value: object, level: int = 1) -> None:
    if not isinstance(value, (dict, list)):
        return
    if level > MAX_DEPTH:
        raise InvalidMessage(f"nested deeper than {MAX_DEPTH} levels")
    for inner in value.values() if isinstance(value, dict) else value:
        _check_depth(inner, level + 1)
