"""A relay filter that works packet by packet, on one connection."""

import struct
import threading
from collections.abc import Callable

from tests.relays import WORK_COMPLETE

_HEADER = struct.Struct(">4sII")


class PacketFilter:
    """A relay filter that receives whole packets.

    Text of the admin protocol is passed on unchanged.

    :param change: takes a packet and returns what is passed on
    """

    def __init__(self, change: Callable[[bytes], bytes]) -> None:
        self._change = change
        # A relay has a thread for each connection.
        self._local = threading.local()

    def __call__(self, data: bytes) -> bytes:
        rest = getattr(self._local, "rest", b"") + data
        if not rest.startswith(b"\0"):
            return rest
        packets, self._local.rest = _split(rest)
        return b"".join(map(self._change, packets))


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Split data into whole packets and the start of the next."""
    packets = []
    while len(data) >= _HEADER.size:
        _magic, _kind, length = _HEADER.unpack_from(data)
        end = _HEADER.size + length
        if len(data) < end:
            break
        packets.append(data[:end])
        data = data[end:]
    return packets, data


def change_handle(answer: bytes) -> bytes:
    """Replace the handle in an answer by one that gearmand does not know.

    gearmand replies with JOB_NOT_FOUND, as it does when it has forgotten the
    job.
    """
    assert answer.startswith(WORK_COMPLETE)
    body = answer[_HEADER.size :]
    handle, _nul, payload = body.partition(b"\0")
    return answer[: _HEADER.size] + b"X" * len(handle) + b"\0" + payload
