"""Gearman's binary packets: their types, how to write and to read them.

A packet is a magic of four bytes, type and length of its body as 32 bits
each, and the body: the arguments, separated by NUL. Only the last argument
may contain NULs itself.
"""

import struct
from collections.abc import Collection, Generator, Iterator
from enum import IntEnum
from typing import Literal, NamedTuple, Self

from poolmgr.errors import TransportError
from poolmgr.gearman.diagnosis import describe_wrong_peer, identify

REQUEST = b"\0REQ"
RESPONSE = b"\0RES"

#: Bytes of a unique or handle that gearmand delivers whole.
MAX_NAME = 63

_HEADER = struct.Struct(">4sII")
_HEADER_SIZE = _HEADER.size


class ProtocolError(TransportError):
    """The peer sent what is not a packet of the protocol."""


class PacketType(IntEnum):
    """The number of each kind of packet.

    :ivar arguments: how many arguments it has
    """

    arguments: int

    def __new__(cls, number: int, arguments: int) -> Self:
        """A member: its number, and how many arguments it has."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.arguments = arguments
        return member

    CAN_DO = 1, 1
    CANT_DO = 2, 1
    RESET_ABILITIES = 3, 0
    PRE_SLEEP = 4, 0
    NOOP = 6, 0
    SUBMIT_JOB = 7, 3
    JOB_CREATED = 8, 1
    GRAB_JOB = 9, 0
    NO_JOB = 10, 0
    JOB_ASSIGN = 11, 3
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
    CAN_DO_TIMEOUT = 23, 2
    ALL_YOURS = 24, 0
    WORK_EXCEPTION = 25, 2
    OPTION_REQ = 26, 1
    OPTION_RES = 27, 1
    WORK_DATA = 28, 2
    WORK_WARNING = 29, 2
    GRAB_JOB_UNIQ = 30, 0
    JOB_ASSIGN_UNIQ = 31, 4
    SUBMIT_JOB_HIGH_BG = 32, 3
    SUBMIT_JOB_LOW = 33, 3
    SUBMIT_JOB_LOW_BG = 34, 3
    SUBMIT_JOB_SCHED = 35, 8
    SUBMIT_JOB_EPOCH = 36, 4
    SUBMIT_REDUCE_JOB = 37, 4
    SUBMIT_REDUCE_JOB_BACKGROUND = 38, 4
    GRAB_JOB_ALL = 39, 0
    JOB_ASSIGN_ALL = 40, 5
    GET_STATUS_UNIQUE = 41, 1
    STATUS_RES_UNIQUE = 42, 6


_KNOWN = {int(kind): kind for kind in PacketType}

Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")

SUBMIT: dict[tuple[Priority, bool], PacketType] = {
    ("low", False): PacketType.SUBMIT_JOB_LOW,
    ("normal", False): PacketType.SUBMIT_JOB,
    ("high", False): PacketType.SUBMIT_JOB_HIGH,
    ("low", True): PacketType.SUBMIT_JOB_LOW_BG,
    ("normal", True): PacketType.SUBMIT_JOB_BG,
    ("high", True): PacketType.SUBMIT_JOB_HIGH_BG,
}
"""What hands in a job, by its priority and whether it is in background."""


class Packet(NamedTuple):
    """One packet; as many arguments as its type has."""

    type: PacketType
    args: list[bytes]


def encode(type: PacketType, *args: bytes, magic: bytes = REQUEST) -> bytes:
    """The bytes of one packet.

    :param args: as many as the type has; only the last may contain NUL
    """
    body = b"\0".join(args)
    return _HEADER.pack(magic, type, len(body)) + body


class Parser:
    """Finds the packets in a stream, however it is cut into pieces.

    :param magic: what the peer's packets start with
    :param max_packet: bytes that a body may have
    :param cut: types of packets whose body is cut when it is longer, instead
        of being an error; what is over is passed over and not kept
    """

    def __init__(
        self,
        magic: bytes = RESPONSE,
        max_packet: int = 16 * 1024 * 1024,
        cut: Collection[PacketType] = (),
    ) -> None:
        self._magic = magic
        self._max = max_packet
        self._cut = frozenset(cut)
        self._begun = False  # there was a whole packet
        self._over = 0  # bytes still to come of a body that was cut
        # That packet. Not given out earlier: gearmand frees what is answered,
        # even what it is still sending.
        self._late: Packet | None = None
        self._rest = bytearray()  # the start of an incomplete packet
        self._needed = 0  # bytes that make the packet in _rest complete

    @property
    def wrong_peer(self) -> str:
        """What answers there, if that can be told and is no job server."""
        return "" if self._begun else identify(bytes(self._rest[:8]))

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that are complete with this piece of the stream.

        To be exhausted before the next piece is fed. Packets that precede
        a wrong one are given out first.

        :raises ProtocolError: wrong magic, length, type, or arguments; the
            parser is of no more use then
        """
        if self._over:
            passed = min(self._over, len(data))
            self._over -= passed
            data = data[passed:]
            if self._late is not None and not self._over:
                packet, self._late = self._late, None
                yield packet
        if not self._rest:
            # The common case: whole packets, nothing to be put together.
            position = yield from self._packets(data, data)
            self._rest += data[position:]
            return
        self._rest += data
        if len(self._rest) < self._needed:
            return
        with memoryview(self._rest) as view:
            position = yield from self._packets(self._rest, view)
        del self._rest[:position]

    def _packets(
        self, data: bytes | bytearray, view: bytes | memoryview
    ) -> Generator[Packet, None, int]:
        """Yield the complete packets; return where the rest starts.

        :param view: the same data, cheap to slice
        """
        position, end = 0, len(data)
        while end - position >= _HEADER_SIZE:
            magic, number, length = _HEADER.unpack_from(data, position)
            if magic != self._magic:
                raise self._wrong_magic(bytes(data[position:]))
            try:
                kind = _KNOWN[number]
            except KeyError:
                raise ProtocolError(f"unknown packet type {number}") from None
            if length > self._max and kind not in self._cut:
                raise ProtocolError(f"packet of {length} bytes announced")
            kept = min(length, self._max)
            start = position + _HEADER_SIZE
            stop = start + kept
            if stop > end:
                self._needed = stop - position
                return position
            packet = Packet(kind, _split(kind, bytes(view[start:stop])))
            self._begun = True
            # Of one that is cut, also what is here and not kept.
            position = min(start + length, end)
            self._over = start + length - position
            if self._over:
                self._late = packet
            else:
                yield packet
        self._needed = _HEADER_SIZE
        return position

    def _wrong_magic(self, said: bytes) -> ProtocolError:
        error = f"packet with the magic {said[:4]!r}"
        if not self._begun:
            error = f"{error}: {describe_wrong_peer(said)}"
        return ProtocolError(error)


def _split(kind: PacketType, body: bytes) -> list[bytes]:
    if count := kind.arguments:
        args = body.split(b"\0", count - 1)
        if len(args) == count:
            return args
        raise ProtocolError(
            f"{kind.name} with {len(args)} instead of {count} arguments"
        )
    if body:
        raise ProtocolError(f"{kind.name} with an argument")
    return []
