"""Parsing addresses of job servers."""

import pytest

from poolmgr.errors import ConfigError
from poolmgr.gearman.endpoint import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("gearman-1", Address("gearman-1", 4730)),
        ("gearman-1:4731", Address("gearman-1", 4731)),
        (" 127.0.0.1:1 ", Address("127.0.0.1", 1)),
        ("[::1]", Address("::1", 4730)),
        ("[2001:db8::1]:65535", Address("2001:db8::1", 65535)),
    ],
)
def test_addresses_are_parsed_and_formatted(
    text: str, address: Address
) -> None:
    assert Address.parse(text) == address
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":4730",
        "a:",
        "a:0",
        "a:65536",
        "a:-1",
        "a:4730x",
        "a:\uff14\uff17",
        "::1",
        "[::1",
        "[::1]4730",
        "[]:1",
        "a b",
        "a\nb",
        "tcp://a:4730",
    ],
)
def test_invalid_addresses_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address.parse(text)

    assert str(caught.value).isprintable()
