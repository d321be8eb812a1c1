"""Tests of parsing packets from pieces, and refusing invalid data."""

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr.gearman.protocol import (
    RESPONSE,
    Packet,
    PacketType,
    Parser,
    ProtocolError,
    encode,
)

argument = st.binary(max_size=20).map(lambda b: b.replace(b"\0", b"0"))


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    kind = draw(st.sampled_from(PacketType))
    args = [draw(argument) for _ in range(kind.arguments)]
    if args:
        # Only the last argument may contain NULs.
        args[-1] += draw(st.binary(max_size=20))
    return Packet(kind, args)


def split(data: bytes, lengths: list[int]) -> list[bytes]:
    pieces = []
    for length in lengths:
        pieces.append(data[:length])
        data = data[length:]
    return [*pieces, data]


@given(st.lists(packets()), st.lists(st.integers(0, 50)))
def test_packets_are_parsed_from_pieces_of_any_size(
    sent: list[Packet], lengths: list[int]
) -> None:
    stream = b"".join(encode(p.type, *p.args, magic=RESPONSE) for p in sent)
    parser = Parser()

    received = [
        packet
        for piece in split(stream, lengths)
        for packet in parser.feed(piece)
    ]

    assert received == sent


def parse(pieces: list[bytes]) -> list[Packet] | str:
    parser = Parser(max_packet=1000)
    found: list[Packet] = []
    try:
        for piece in pieces:
            found.extend(parser.feed(piece))
    except ProtocolError as error:
        return str(error)
    return found


@given(
    st.lists(
        st.binary(max_size=30)
        | st.integers(0, 45).map(
            lambda n: b"\0RES" + struct.pack(">II", n, 3) + b"a\0b"
        )
    ).map(b"".join),
    st.lists(st.integers(0, 20)),
)
def test_errors_do_not_depend_on_the_size_of_pieces(
    stream: bytes, lengths: list[int]
) -> None:
    assert parse(split(stream, lengths)) == parse([stream])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"HTTP/1.1 400", "not understood"),
        (b"\0REQ" + struct.pack(">II", 6, 0), "not understood"),
        (b"\0RES" + struct.pack(">II", 6, 1001), "1001 bytes"),
        (b"\0RES" + struct.pack(">Ii", 6, -1), "4294967295 bytes"),
        (b"\0RES" + struct.pack(">II", 99, 0), "type 99"),
        (b"\0RES" + struct.pack(">II", 31, 3) + b"a\0b", "2 instead of 4"),
        (b"\0RES" + struct.pack(">II", 10, 1) + b"x", "NO_JOB"),
    ],
)
def test_invalid_data_is_refused_with_the_reason(
    data: bytes, reason: str
) -> None:
    assert reason in parse([data])


def test_parsing_takes_linear_time() -> None:
    payload = bytes(10 * 1024 * 1024)
    stream = encode(
        PacketType.JOB_ASSIGN_UNIQ, b"h", b"f", b"u", payload, magic=RESPONSE
    )
    parser = Parser()
    found: list[Packet] = []
    began = time.process_time()

    for start in range(0, len(stream), 1024):
        found.extend(parser.feed(stream[start : start + 1024]))

    assert [len(p.args[3]) for p in found] == [len(payload)]
    # Parsing takes 0.03 s; copying the buffer for each piece would take 5 s.
    assert time.process_time() - began < 1.0
