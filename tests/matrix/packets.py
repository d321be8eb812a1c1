"""What a relay does packet by packet, on one link."""

import struct
from collections.abc import Callable, Iterator

from tests.relays import WORK_COMPLETE

_HEADER = struct.Struct(">4sII")


class EachPacket:
    """A relay's filter that sees whole packets.

    :param change: takes a packet and returns what is passed on
    """

    def __init__(self, change: Callable[[bytes], bytes]) -> None:
        self._change = change
        self._rest = b""

    def __call__(self, data: bytes) -> bytes:
        self._rest += data
        return b"".join(map(self._change, self._packets()))

    def _packets(self) -> Iterator[bytes]:
        while len(self._rest) >= _HEADER.size:
            _magic, _kind, length = _HEADER.unpack_from(self._rest)
            end = _HEADER.size + length
            if len(self._rest) < end:
                return
            packet, self._rest = self._rest[:end], self._rest[end:]
            yield packet


def renamed(answer: bytes) -> bytes:
    """An answer with the handle of a job that there is not.

    gearmand answers it with JOB_NOT_FOUND, as it does when it has forgotten
    the job.
    """
    assert answer.startswith(WORK_COMPLETE)
    body = answer[_HEADER.size :]
    handle, _nul, payload = body.partition(b"\0")
    return answer[: _HEADER.size] + b"X" * len(handle) + b"\0" + payload
