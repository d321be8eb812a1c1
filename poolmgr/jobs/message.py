"""Decodes messages and encodes answers.

A message is one JSON object.  The answer is the same object with the fields
that the action adds, and ``"response": "PASS"`` or ``"FAIL"``.  See "Wire
format" in the documentation.
"""

import json
import re
from collections.abc import Mapping

from poolmgr.errors import InvalidMessage

#: Longest payload in bytes.  The largest documented request has 120.
MAX_BYTES = 1024 * 1024
#: Deepest nesting of objects and lists.
MAX_DEPTH = 100
#: Longest JSON text that an action may add to an answer, in characters.
MAX_ADDED = 16 * MAX_BYTES

PASS = "PASS"  # noqa: S105 - a verdict, not a password
FAIL = "FAIL"

Message = dict[str, object]

# A string, closed or not, or a comma before a closing bracket.  The possessive
# quantifiers keep the time linear in the payload's length.
_TRAILING_COMMA = re.compile(
    r'"(?:[^"\\]|\\.)*+(?:"|\Z)|,(?=\s*+[}\]])', re.DOTALL
)


def decode(message: object) -> Message:
    """Return the fields of a message.

    :param message: the payload as bytes, its text, or a mapping
    :returns: a new dict, the fields unchanged
    :raises InvalidMessage: it is not one JSON object within
        :data:`MAX_BYTES` and :data:`MAX_DEPTH`
    """
    if isinstance(message, (bytes, bytearray, memoryview)):
        message = _decode_text(bytes(message))
    if isinstance(message, str):
        message = _parse(message)
    if not isinstance(message, Mapping):
        kind = type(message).__name__
        raise InvalidMessage(f"a message must be a JSON object, not {kind}")
    fields = dict(message)
    if not all(isinstance(name, str) for name in fields):
        raise InvalidMessage("the name of a field is not text")
    return fields


def encode(answer: Message) -> bytes:
    """Return the answer's payload: one line of ASCII."""
    # Escaped, because UTF-8 has no form of a lone surrogate.
    return json.dumps(answer).encode("ascii")


def snapshot(fields: object) -> Message:
    """Return a copy of the fields of a plugin, as a client reads them.

    :raises Exception: they are not a JSON object within the limits, or one of
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


def _decode_text(payload: bytes) -> str:
    if len(payload) > MAX_BYTES:
        raise InvalidMessage(
            f"the payload has {len(payload)} bytes; "
            f"at most {MAX_BYTES} are allowed"
        )
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidMessage(f"the payload is not UTF-8: {error}") from None


def _parse(text: str) -> object:
    try:
        # The document's own BUILD_IP example ends with a comma.
        value = json.loads(_TRAILING_COMMA.sub(_keep_strings, text))
        json.dumps(value, allow_nan=False)  # the answer repeats it
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
