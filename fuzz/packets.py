"""The stream of packets: the result does not depend on its pieces."""

from poolmgr.gearman.protocol import (
    RESPONSE,
    Packet,
    PacketType,
    Parser,
    ProtocolError,
    encode,
)

_MAX = 200
_CUT = PacketType.JOB_ASSIGN_UNIQ


def _encoded(kind: PacketType, *args: bytes) -> bytes:
    return encode(kind, *args, magic=RESPONSE)


SEEDS = [
    b"\x05" + _encoded(PacketType.NO_JOB) + _encoded(PacketType.NOOP),
    b"\x01" + _encoded(PacketType.JOB_ASSIGN_UNIQ, b"h", b"f", b"u", b"p"),
    b"\x30" + _encoded(PacketType.JOB_ASSIGN_UNIQ, b"h", b"", b"", b"p" * 300),
    b"\xff" + _encoded(PacketType.ERROR, b"code", b"text\0text"),
]


def one(data: bytes) -> None:
    """The first byte is the length of the pieces."""
    size, stream = (data[:1] or b"\1")[0] or 1, data[1:]
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    whole, in_pieces = _parsed([stream]), _parsed(pieces)
    assert whole == in_pieces
    packets, _error = whole
    for packet in packets:
        assert packet.type is _CUT or len(b"\0".join(packet.args)) <= _MAX
        again = _encoded(packet.type, *packet.args)
        assert _parsed([again]) == ([packet], None)


def _parsed(pieces: list[bytes]) -> tuple[list[Packet], str | None]:
    parser = Parser(max_packet=_MAX)
    found: list[Packet] = []
    try:
        for piece in pieces:
            found.extend(parser.feed(piece))
    except ProtocolError as error:
        return found, str(error)
    return found, None
