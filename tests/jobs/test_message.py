"""Tests of the decoding and encoding of messages."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr.errors import InvalidMessage
from poolmgr.jobs import message

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values))
def test_an_object_is_unchanged_after_decoding_and_encoding(
    fields: dict[str, object],
) -> None:
    decoded = message.decode(json.dumps(fields).encode())

    assert decoded == fields
    assert json.loads(message.encode(decoded)) == fields


@pytest.mark.parametrize(
    "text",
    [
        '{"action": "BUILD_IP",}',
        '{\n    "action": "BUILD_IP",\n}',
        '{"action": "BUILD_IP" , \t\r\n }',
    ],
)
def test_trailing_commas_are_accepted(text: str) -> None:
    assert message.decode(text) == {"action": "BUILD_IP"}


def test_commas_inside_strings_are_kept() -> None:
    text = '{"a": "x,}", "b": ["\\",]", 1,], "c": "\\\\",}'

    assert message.decode(text) == {"a": "x,}", "b": ['",]', 1], "c": "\\"}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "a JSON object, not list"),
        (b"5", "a JSON object, not int"),
        (b"null", "a JSON object, not NoneType"),
        (b'"BUILD_IP"', "a JSON object, not str"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": 1} {"b": 2}', "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": -Infinity}', "not JSON"),
        (b'{"a": 1e999}', "not JSON"),
        (b"[" * 500_000, "not JSON"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not JSON|nested"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "deeper than 100"),
        (b" " * (10 * 1024 * 1024), "at most 1048576"),
        (5, "not int"),
        (None, "not NoneType"),
        ({5: 1}, "not text"),
    ],
)
def test_an_invalid_message_is_refused_with_a_reason(
    payload: object, reason: str
) -> None:
    with pytest.raises(InvalidMessage, match=reason) as caught:
        message.decode(payload)

    assert "\n" not in str(caught.value)


def test_sixty_four_nested_levels_are_accepted() -> None:
    payload = '{"a":' * 64 + "1" + "}" * 64

    assert message.decode(payload) == json.loads(payload)


@pytest.mark.parametrize("unit", [b'\\"', b'"', b",", b", ", b"\\", b'",'])
def test_repeated_characters_are_decoded_in_linear_time(unit: bytes) -> None:
    # A quadratic scan of a megabyte would exceed the test's time limit.
    payload = b'{"a": "' + unit * ((message.MAX_BYTES - 10) // len(unit))

    with pytest.raises(InvalidMessage):
        message.decode(payload)


def test_lone_surrogates_are_encoded_unchanged() -> None:
    payload = b'{"x": "\\ud800"}'

    assert message.encode(message.decode(payload)) == payload
