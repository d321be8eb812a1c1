"""A connection on which packets come and go, with a heartbeat."""

import asyncio
from collections.abc import Callable

from poolmgr.gearman.connection import Connection, ConnectionOptions
from poolmgr.gearman.protocol import (
    PacketType,
    Parser,
    ProtocolError,
    encode,
)
from poolmgr.gearman.reasons import reason_of


class PacketConnection(Connection, asyncio.BufferedProtocol):
    """A worker's or a client's connection.

    :param received: takes each packet; a :exc:`ProtocolError` drops the
        connection
    :param ended: called with the reason when nothing comes or goes any more
    :ivar gone: done when the connection has ended, with the reason
    """

    def __init__(
        self,
        options: ConnectionOptions,
        received: Callable[[PacketType, list[bytes]], None],
        ended: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._received = received
        self._ended = ended
        self._heartbeat = options.heartbeat
        self._parser = Parser(max_packet=options.max_packet)
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[str] = self._loop.create_future()
        # Kept: what asyncio gets and returns for each piece costs a third of
        # a job's time.
        self._in = memoryview(bytearray(64 * 1024))
        self._out: list[bytes] = []
        self._receiving = False
        self._timer: asyncio.TimerHandle | None = None
        self._heard = True  # the peer has sent something since it was asked
        self._backlog = 0  # bytes that were not yet on their way then

    def ping(self) -> None:
        """Ask the server for a sign of life."""
        self.send(PacketType.ECHO_REQ, b"")

    # -- sending ------------------------------------------------------------

    def send(self, kind: PacketType, *args: bytes) -> None:
        """Send after what was sent before; lost if the connection is."""
        # What is sent in one turn of the loop goes out in one piece; what
        # answers something received, without a turn of its own.
        if not (self._out or self._receiving):
            self._loop.call_soon(self._flush)
        self._out.append(encode(kind, *args))

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    async def close(self, reason: str, timeout: float) -> None:
        """End the connection when what was sent before has gone out.

        :param timeout: seconds that this may take
        """
        self._dropped_for = self._dropped_for or reason
        self._flush()
        if self._transport is not None:
            self._transport.close()
        await asyncio.wait([self.gone], timeout=timeout)
        self.drop(reason)

    # -- called by asyncio --------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.ping()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to put what the peer has sent."""
        return self._in

    def buffer_updated(self, nbytes: int) -> None:
        """Take so many bytes of it."""
        self._heard = self._receiving = True
        try:
            for kind, args in self._parser.feed(bytes(self._in[:nbytes])):
                self._received(kind, args)
                if self._dropped_for is not None:
                    return
                if not self.answered.done():
                    self.answered.set_result(None)
                    self._watch_later()
        except ProtocolError as error:
            self.drop(f"protocol error: {error}")
        finally:
            self._receiving = False
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()
        reason = self._dropped_for or reason_of(exc)
        self.gone.set_result(reason)
        self._ended(reason)

    def _watch_later(self) -> None:
        self._timer = self._loop.call_later(self._heartbeat, self._watch)

    def _watch(self) -> None:
        if self._transport is None:
            return
        # A peer that takes what waits to be sent lives, too: the question
        # waits behind it.
        backlog = self._transport.get_write_buffer_size()
        if not self._heard and backlog >= self._backlog:
            self.drop(f"no sign of life for {self._heartbeat:g} s")
            return
        self._heard, self._backlog = False, backlog
        self.ping()
        self._watch_later()
