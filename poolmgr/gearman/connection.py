"""One connection to a job server: packets, heartbeat, and its end."""

import asyncio
from typing import ClassVar, cast

from poolmgr.gearman.connect import reason_of, reason_of_silence
from poolmgr.gearman.diagnosis import describe_silence
from poolmgr.gearman.options import ConnectionOptions
from poolmgr.gearman.protocol import (
    PacketType,
    Parser,
    ProtocolError,
    encode,
)

#: Bytes that are read at once, at most.
_AT_ONCE = 64 * 1024

_ECHO_REQ = encode(PacketType.ECHO_REQ, b"")


class Connection(asyncio.BufferedProtocol):
    """The base of a worker's and of a client's connection.

    :cvar cut: types of packets that are cut when they are too long; all
        others end the connection
    :ivar gone: done when the connection has ended, with the reason
    """

    cut: ClassVar[tuple[PacketType, ...]] = ()

    def __init__(self, options: ConnectionOptions) -> None:
        self._options = options
        self._parser = Parser(max_packet=options.max_packet, cut=self.cut)
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[str] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._dropped_for: str | None = None
        # Kept: memory of this size is a system call to get, and one to return.
        self._in = memoryview(bytearray(_AT_ONCE))
        self._out: list[bytes] = []
        self._written = 0  # bytes handed to the transport so far
        self._heard = 0.0  # when the peer last sent or took something
        self._probed: float | None = None  # when it was asked to send
        self._backlog = self._taken = 0
        self._spoken = False  # the peer has sent something
        self._receiving = False
        self._timer: asyncio.TimerHandle | None = None

    # -- what a kind of connection adds -------------------------------------

    def greet(self) -> None:
        """Send what comes first on a new connection."""

    def received(self, kind: PacketType, args: list[bytes]) -> None:
        """Take one packet.

        :raises ProtocolError: to drop the connection
        """
        raise NotImplementedError

    def ping(self) -> None:
        """Ask the server for a sign of life."""
        self.send(_ECHO_REQ)

    def ended(self, reason: str) -> None:
        """Tidy up: nothing comes or goes any more."""

    # -- sending ------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send after what was sent before; lost if the connection is."""
        # What is sent in one turn of the loop goes out in one piece; what
        # answers something received, as soon as all of that is read.
        if not (self._out or self._receiving):
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            data = b"".join(self._out)
            self._written += len(data)
            self._transport.write(data)
        self._out.clear()

    def drop(self, reason: str) -> None:
        """End the connection at once; what was not yet sent is lost."""
        if self._dropped_for is None:
            self._dropped_for = reason
        if self._transport is not None:
            self._transport.abort()

    def close(self, reason: str) -> None:
        """End the connection when what was sent before has gone out."""
        if self._dropped_for is None:
            self._dropped_for = reason
        self._flush()
        if self._transport is not None:
            self._transport.close()

    # -- called by asyncio --------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._heard = self._loop.time()
        self.greet()
        # The greeting is to be answered, too.
        self._probe()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to put what the peer has sent."""
        return self._in

    def buffer_updated(self, nbytes: int) -> None:
        """Take so many bytes of it."""
        data = bytes(self._in[:nbytes])
        self._heard = self._loop.time()
        self._spoken = True
        self._receiving = True
        try:
            for kind, args in self._parser.feed(data):
                self.received(kind, args)
                if self._dropped_for is not None:
                    return
        except ProtocolError as error:
            self.drop(f"protocol error: {error}")
        finally:
            self._receiving = False
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self._out.clear()
        reason = self._dropped_for or self._reason(exc)
        self._dropped_for = reason
        self.ended(reason)
        if not self.gone.done():
            self.gone.set_result(reason)

    def _reason(self, exc: Exception | None) -> str:
        if self._spoken:
            return self._parser.wrong_peer or reason_of(exc)
        return reason_of_silence(exc, self._options)

    # -- heartbeat ----------------------------------------------------------

    def _probe(self) -> None:
        self.ping()
        self._flush()
        self._probed = self._loop.time()
        self._watch_in(self._options.heartbeat)

    def _watch_in(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._watch)

    def _watch(self) -> None:
        if self._transport is None:
            return
        now = self._loop.time()
        if self._backlog_shrinks(self._transport.get_write_buffer_size()):
            self._heard = now
        silent = now - self._heard
        if silent < self._options.heartbeat:
            self._probed = None
            self._watch_in(self._options.heartbeat - silent)
        elif self._probed is None or self._heard >= self._probed:
            self._probe()
        else:
            self.drop(self._describe_silence())

    def _backlog_shrinks(self, backlog: int) -> bool:
        """Whether the peer takes what waits to be sent: a sign of life, too,
        for the probe waits behind it.

        Without a backlog it means nothing: the system takes small packets
        for a peer that is dead.

        :param backlog: bytes that the system has not yet taken
        """
        taken = self._written - backlog
        shrinks = self._backlog > 0 and taken > self._taken
        self._taken, self._backlog = taken, backlog
        return shrinks

    def _describe_silence(self) -> str:
        # In the same words each time: what is repeated is not logged.
        reason = f"no sign of life for {2 * self._options.heartbeat:g} s"
        if not self._spoken:
            return f"{reason}: {describe_silence(self._options)}"
        if self._parser.wrong_peer:
            return f"{reason}: {self._parser.wrong_peer}"
        return reason
