"""Gearman's binary packets: their types, how to write and to read them.

A packet is a magic of four bytes, type and length of its body as 32 bits
each, and the body: the arguments, separated by NUL. Only the last argument
may contain NULs itself.
"""

import struct
from collections.abc import Collection, Generator, Iterator
from enum import IntEnum
from typing import NamedTuple

from poolmgr.errors import TransportError
from poolmgr.gearman.stranger import describe, recognize

REQUEST = b"\0REQ"
RESPONSE = b"\0RES"

#: Bytes of a unique or handle that gearmand delivers whole.
MAX_NAME = 63

_HEADER = struct.Struct(">4sII")
_HEADER_SIZE = _HEADER.size


class ProtocolError(TransportError):
    """The peer sent what is not a packet of the protocol."""


class PacketType(IntEnum):
    """The number of each kind of packet."""

    CAN_DO = 1
    CANT_DO = 2
    RESET_ABILITIES = 3
    PRE_SLEEP = 4
    NOOP = 6
    SUBMIT_JOB = 7
    JOB_CREATED = 8
    GRAB_JOB = 9
    NO_JOB = 10
    JOB_ASSIGN = 11
    WORK_STATUS = 12
    WORK_COMPLETE = 13
    WORK_FAIL = 14
    GET_STATUS = 15
    ECHO_REQ = 16
    ECHO_RES = 17
    SUBMIT_JOB_BG = 18
    ERROR = 19
    STATUS_RES = 20
    SUBMIT_JOB_HIGH = 21
    SET_CLIENT_ID = 22
    CAN_DO_TIMEOUT = 23
    ALL_YOURS = 24
    WORK_EXCEPTION = 25
    OPTION_REQ = 26
    OPTION_RES = 27
    WORK_DATA = 28
    WORK_WARNING = 29
    GRAB_JOB_UNIQ = 30
    JOB_ASSIGN_UNIQ = 31
    SUBMIT_JOB_HIGH_BG = 32
    SUBMIT_JOB_LOW = 33
    SUBMIT_JOB_LOW_BG = 34
    SUBMIT_JOB_SCHED = 35
    SUBMIT_JOB_EPOCH = 36
    SUBMIT_REDUCE_JOB = 37
    SUBMIT_REDUCE_JOB_BACKGROUND = 38
    GRAB_JOB_ALL = 39
    JOB_ASSIGN_ALL = 40
    GET_STATUS_UNIQUE = 41
    STATUS_RES_UNIQUE = 42


T = PacketType

ARGUMENTS: dict[PacketType, int] = {
    **dict.fromkeys(
        (
            T.RESET_ABILITIES,
            T.PRE_SLEEP,
            T.NOOP,
            T.GRAB_JOB,
            T.NO_JOB,
            T.ALL_YOURS,
            T.GRAB_JOB_UNIQ,
            T.GRAB_JOB_ALL,
        ),
        0,
    ),
    **dict.fromkeys(
        (
            T.CAN_DO,
            T.CANT_DO,
            T.JOB_CREATED,
            T.WORK_FAIL,
            T.GET_STATUS,
            T.ECHO_REQ,
            T.ECHO_RES,
            T.SET_CLIENT_ID,
            T.OPTION_REQ,
            T.OPTION_RES,
            T.GET_STATUS_UNIQUE,
        ),
        1,
    ),
    **dict.fromkeys(
        (
            T.WORK_COMPLETE,
            T.ERROR,
            T.CAN_DO_TIMEOUT,
            T.WORK_EXCEPTION,
            T.WORK_DATA,
            T.WORK_WARNING,
        ),
        2,
    ),
    **dict.fromkeys(
        (
            T.SUBMIT_JOB,
            T.SUBMIT_JOB_BG,
            T.SUBMIT_JOB_HIGH,
            T.SUBMIT_JOB_HIGH_BG,
            T.SUBMIT_JOB_LOW,
            T.SUBMIT_JOB_LOW_BG,
            T.JOB_ASSIGN,
            T.WORK_STATUS,
        ),
        3,
    ),
    **dict.fromkeys(
        (
            T.JOB_ASSIGN_UNIQ,
            T.SUBMIT_JOB_EPOCH,
            T.SUBMIT_REDUCE_JOB,
            T.SUBMIT_REDUCE_JOB_BACKGROUND,
        ),
        4,
    ),
    T.STATUS_RES: 5,
    T.JOB_ASSIGN_ALL: 5,
    T.STATUS_RES_UNIQUE: 6,
    T.SUBMIT_JOB_SCHED: 8,
}
"""How many arguments each type has."""

_KNOWN = {int(kind): (kind, count) for kind, count in ARGUMENTS.items()}


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
    def stranger(self) -> str:
        """What the peer is, if it has said too little for a packet."""
        return "" if self._begun else recognize(bytes(self._rest[:8]))

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
                kind, count = _KNOWN[number]
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
            packet = Packet(kind, _split(kind, count, bytes(view[start:stop])))
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
            error = f"{error}: {describe(said)}"
        return ProtocolError(error)


def _split(kind: PacketType, count: int, body: bytes) -> list[bytes]:
    if count:
        args = body.split(b"\0", count - 1)
        if len(args) == count:
            return args
        raise ProtocolError(
            f"{kind.name} with {len(args)} instead of {count} arguments"
        )
    if body:
        raise ProtocolError(f"{kind.name} with an argument")
    return []
