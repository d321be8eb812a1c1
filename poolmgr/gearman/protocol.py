"""Gearman's binary protocol: encoding and parsing packets.

A packet has a magic of four bytes, the type and the length of its body as 32
bits each, and the body: the arguments, separated by NUL. Only the last
argument may contain NULs. See http://gearman.org/protocol/.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Literal, NamedTuple, Self

from poolmgr.errors import TransportError
from poolmgr.text import one_line

REQUEST = b"\0REQ"
RESPONSE = b"\0RES"

#: Longest unique or handle that gearmand supports, in bytes.
MAX_NAME = 63

_HEADER = struct.Struct(">4sII")


class PacketType(IntEnum):
    """The packet types that poolmgr uses.

    :ivar arguments: the number of arguments
    """

    arguments: int

    def __new__(cls, number: int, arguments: int) -> Self:
        """Make a member from its number and number of arguments."""
        member = int.__new__(cls, number)
        # Otherwise Enum would compute it as int(number, arguments).
        member._value_ = number
        member.arguments = arguments
        return member

    CAN_DO = 1, 1
    PRE_SLEEP = 4, 0
    NOOP = 6, 0
    SUBMIT_JOB = 7, 3
    JOB_CREATED = 8, 1
    NO_JOB = 10, 0
    WORK_STATUS = 12, 3
    WORK_COMPLETE = 13, 2
    WORK_FAIL = 14, 1
    GET_STATUS = 15, 1
    ECHO_REQ = 16, 1
    ECHO_RES = 17, 1
    SUBMIT_JOB_BG = 18, 3
    ERROR = 19, 2
    STATUS_RES = 20, 5
    SUBMIT_JOB_HIGH = 21, 3
    SET_CLIENT_ID = 22, 1
    WORK_EXCEPTION = 25, 2
    WORK_DATA = 28, 2
    WORK_WARNING = 29, 2
    GRAB_JOB_UNIQ = 30, 0
    JOB_ASSIGN_UNIQ = 31, 4
    SUBMIT_JOB_HIGH_BG = 32, 3
    SUBMIT_JOB_LOW = 33, 3
    SUBMIT_JOB_LOW_BG = 34, 3
    SUBMIT_JOB_EPOCH = 36, 4
    GET_STATUS_UNIQUE = 41, 1
    STATUS_RES_UNIQUE = 42, 6


_KNOWN = {int(kind): kind for kind in PacketType}

Priority = Literal["high", "normal", "low"]

#: Packet types for submitting jobs, by priority and background flag.
SUBMIT: dict[tuple[Priority, bool], PacketType] = {
    ("low", False): PacketType.SUBMIT_JOB_LOW,
    ("normal", False): PacketType.SUBMIT_JOB,
    ("high", False): PacketType.SUBMIT_JOB_HIGH,
    ("low", True): PacketType.SUBMIT_JOB_LOW_BG,
    ("normal", True): PacketType.SUBMIT_JOB_BG,
    ("high", True): PacketType.SUBMIT_JOB_HIGH_BG,
}


class ProtocolError(TransportError):
    """The peer violated the protocol."""


class Packet(NamedTuple):
    """A packet: its type and arguments."""

    type: PacketType
    args: list[bytes]


def encode(type: PacketType, *args: bytes, magic: bytes = REQUEST) -> bytes:
    """Encode a packet.

    :param args: the arguments; only the last may contain NUL
    """
    body = b"\0".join(args)
    return _HEADER.pack(magic, type, len(body)) + body


class Parser:
    """Parses packets from a stream of bytes.

    :param magic: the first bytes of the peer's packets
    :param max_packet: longest body in bytes; a job with a longer one is cut,
        any other packet is an error
    """

    def __init__(
        self, magic: bytes = RESPONSE, max_packet: int = 16 * 1024 * 1024
    ) -> None:
        self._magic = magic
        self._max = max_packet
        self._buffer = bytearray()  # an incomplete packet
        self._cut = 0  # bytes that were cut from it

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Yield the packets that are complete after these bytes.

        Exhaust the iterator before the next call.

        :raises ProtocolError: wrong magic, length, type, or arguments; the
            parser must not be used again
        """
        self._buffer += data
        while packet := self._parse():
            yield packet

    def _parse(self) -> Packet | None:
        buffer = self._buffer
        # Check the magic first: another server may send less than a header.
        if len(buffer) >= 4 and not buffer.startswith(self._magic):
            start = one_line(bytes(buffer[:4]))
            raise ProtocolError(f"answer not understood: {start}")
        if len(buffer) < _HEADER.size:
            return None
        _, number, length = _HEADER.unpack_from(buffer)
        kind = _KNOWN.get(number)
        if kind is None:
            raise ProtocolError(f"unknown packet type {number}")
        # If a job that is too long ended the connection, the job server would
        # deliver it again, forever.
        if length > self._max and kind is not PacketType.JOB_ASSIGN_UNIQ:
            raise ProtocolError(f"packet of {length} bytes announced")
        excess = max(0, length - self._max)
        end = _HEADER.size + length - excess
        # Cut it here, but return it only when all of it has arrived: gearmand
        # frees a job when it is answered, even while it is still sending it.
        cut = min(len(buffer) - end, excess - self._cut)
        if cut > 0:
            del buffer[end : end + cut]
            self._cut += cut
        if len(buffer) < end or self._cut < excess:
            return None
        # A slice of the bytearray itself would be a second copy.
        body = bytes(memoryview(buffer)[_HEADER.size : end])
        del buffer[:end]
        self._cut = 0
        return Packet(kind, _split(kind, body))


def _split(kind: PacketType, body: bytes) -> list[bytes]:
    # split() of an empty body returns one argument.
    if not (body or kind.arguments):
        return []
    args = body.split(b"\0", max(kind.arguments - 1, 0))
    if len(args) != kind.arguments:
        raise ProtocolError(
            f"{kind.name} with {len(args)} instead of {kind.arguments} "
            "arguments"
        )
    return args
