"""The wire: bytes or a mapping become a message, an outcome an answer.

A message is one JSON object; its answer is the same object with what the
action adds and ``"response": "PASS"`` or ``"FAIL"``.  See "The wire" in the
documentation.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

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
    if isinstance(message, Mapping):
        return _from_mapping(message)
    if isinstance(message, (bytes, bytearray, memoryview)):
        return _from_text(_to_text(bytes(message)))
    if isinstance(message, str):
        return _from_text(message)
    raise InvalidMessage(
        f"a message is bytes, text or a mapping, not {type(message).__name__}"
    )


def encode(answer: Message) -> bytes:
    """The answer as it goes over the wire: ASCII, one line."""
    return json.dumps(answer).encode("ascii")


def answer(
    message: Mapping[str, object],
    response: str,
    added: Mapping[str, object],
    withheld: Iterable[str] = (),
) -> Message:
    """Put an answer together.

    :param message: the request's own fields
    :param response: :data:`PASS` or :data:`FAIL`
    :param added: what the action adds; it wins over the request's own
    :param withheld: fields of the request that are not returned
    """
    hidden = {"response", *withheld}
    own = {key: value for key, value in message.items() if key not in hidden}
    return {**own, **added, "response": response}


def snapshot(fields: Mapping[str, object]) -> Message:
    """A copy of somebody's fields that nothing can change any more.

    :returns: what they are for whoever reads them from the wire
    :raises Exception: they are no JSON object within the limits, or one of
        their objects raises
    """
    text = json.dumps(dict(fields), allow_nan=False)
    if len(text) > MAX_ADDED:
        raise ValueError(f"it has more than {MAX_ADDED} characters")
    copied: Message = _DECODER.decode(text)
    _check_depth(copied)
    return copied


def _to_text(payload: bytes) -> str:
    if len(payload) > MAX_BYTES:
        raise InvalidMessage(
            f"the payload has {len(payload)} bytes; "
            f"at most {MAX_BYTES} are taken"
        )
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidMessage(f"the payload is not UTF-8: {error}") from None


def _from_text(text: str) -> Message:
    try:
        value = _parse(text)
    except ValueError:
        # The document's own BUILD_IP example ends with a comma.
        without = _TRAILING_COMMA.sub(_keep_strings, text)
        try:
            value = _parse(without)
        except ValueError as error:
            raise InvalidMessage(f"the payload is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidMessage("the payload is JSON, but not an object")
    _check_depth(value)
    return value


def _parse(text: str) -> object:
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _keep_strings(match: re.Match[str]) -> str:
    return "" if match[0] == "," else match[0]


def _object(pairs: list[tuple[str, object]]) -> Message:
    result = dict(pairs)
    if len(result) != len(pairs):
        # Which of two names is meant to be deleted is not ours to guess.
        raise ValueError("a key appears twice in one object")
    return result


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        # It could not be returned: JSON has no infinity.
        raise ValueError("a number is too large")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_refuse, parse_float=_float
)


def _check_depth(value: Message) -> None:
    level = 0
    nested: list[Any] = [value]
    while nested:
        level += 1
        if level > MAX_DEPTH:
            raise InvalidMessage(f"nested deeper than {MAX_DEPTH} levels")
        nested = [
            inner
            for outer in nested
            for inner in (outer.values() if type(outer) is dict else outer)
            if isinstance(inner, (dict, list))
        ]


def _from_mapping(mapping: Mapping[object, object]) -> Message:
    result: Message = {}
    for key, value in mapping.items():
        if not isinstance(key, str):
            raise InvalidMessage(f"a field's name is text, not {key!r}")
        result[key] = value
    # A caller's own objects are shown as they show themselves, if they can.
    json.dumps(result, sort_keys=True, default=repr)
    return result
