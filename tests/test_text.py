"""Tests of the escaping of foreign text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr.text import one_line


@given(st.text() | st.binary())
def test_any_text_becomes_one_printable_line(text: str | bytes) -> None:
    assert one_line(text).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünï", "plain, ünï"),
        ("a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        ("right\u202eleft", "right\\u202eleft"),
        (b"ok\xff", "ok\\xff"),
        ("x" * 1001, "x" * 1000 + "..."),
        (b"x" * 100_000, "x" * 1000 + "..."),
    ],
)
def test_unprintable_characters_are_escaped(
    text: str | bytes, shown: str
) -> None:
    assert one_line(text) == shown
