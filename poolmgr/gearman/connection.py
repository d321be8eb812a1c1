"""A connection to a job server: packets, questions, and a heartbeat."""

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from poolmgr.errors import TransportError
from poolmgr.gearman.endpoint import Address, ConnectionOptions, open_socket
from poolmgr.gearman.protocol import (
    PacketType,
    Parser,
    ProtocolError,
    encode,
)
from poolmgr.text import one_line

#: What may be wrong when there is a connection and no answer.
_HINT = "{}: it may not be a job server (gearmand), or speak only TLS"
# With TLS 1.3 our handshake ends before the server has looked at our
# certificate, and not every server says what it thinks of it.
_TLS_HINT = (
    "TLS: {}: it may not speak TLS, may not accept our certificate, or have "
    "no job server behind it"
)

Read = Callable[[list[bytes]], object]
Received = Callable[[PacketType, list[bytes]], None]


class _Question(NamedTuple):
    answer: PacketType
    read: Read
    future: asyncio.Future[Any]


class Connection(asyncio.BufferedProtocol):
    """Packets that come and go, questions and their answers.

    :param address: of the job server, for errors
    :param greeting: what is sent first, with an ECHO_REQ at its end
    :param received: takes each packet that answers no question; a
        :exc:`ProtocolError` drops the connection
    :param parser: finds packets in what the job server sends
    :ivar answered: done when the greeting was answered, or never will be
    :ivar gone: done when the connection has ended, with the reason
    """

    def __init__(
        self,
        address: Address,
        options: ConnectionOptions,
        greeting: bytes,
        received: Received,
        parser: Parser | None = None,
    ) -> None:
        self._address = address
        self._received = received
        self._parser = parser or Parser(max_packet=options.max_packet)
        self._heartbeat = options.heartbeat
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[str] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._dropped_for: str | None = None
        # Kept: what asyncio gets for each piece costs a third of a job's time.
        self._in = memoryview(bytearray(64 * 1024))
        self._out = [greeting]
        self._expected: set[asyncio.Future[Any]] = set()
        self.answered = self.expect()
        self.answered.add_done_callback(lambda _: self._watch_later())
        # They are answered in their order.
        first = _Question(PacketType.ECHO_RES, list, self.answered)
        self._questions = deque([first])
        self._refused = False  # there was an ERROR since the last ECHO_RES
        self._heard = True  # the peer has sent something since it was asked
        self._backlog = 0  # bytes that were not yet on their way then

    def send(self, kind: PacketType, *args: bytes) -> None:
        """Send after what was sent before; lost if the connection is."""
        # What is sent in one turn of the loop goes out in one piece.
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(encode(kind, *args))

    def ask(
        self,
        answer: PacketType,
        kind: PacketType,
        *args: bytes,
        read: Read = list,
    ) -> asyncio.Future[Any]:
        """Send a question; its answer, or a :exc:`TransportError`.

        :param answer: the type of the answer; an ERROR is an error
        :param read: makes the result of the answer's arguments, before
            another packet is taken
        """
        future = self.expect()
        self._questions.append(_Question(answer, read, future))
        self.send(kind, *args)
        return future

    def expect(self) -> asyncio.Future[Any]:
        """A future that fails when the connection ends."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._expected.add(future)
        future.add_done_callback(self._expected.discard)
        if self.gone.done():
            fail(future, self._error(self.gone.result()))
        return future

    def echo(self) -> asyncio.Future[bool]:
        """Ask for a sign of life."""
        return self.ask(
            PacketType.ECHO_RES, PacketType.ECHO_REQ, b"", read=self._echoed
        )

    def deliver(self, kind: PacketType, *args: bytes) -> asyncio.Future[bool]:
        """Send what the job server may refuse; whether it took it.

        An ERROR does not say which packet it is about. So this one stands
        between two ECHO_REQ: an ERROR between their responses is about it.
        """
        self.echo()
        self.send(kind, *args)
        return self.echo()

    def drop(self, reason: str) -> None:
        """End the connection at once; what was not yet sent is lost."""
        self._dropped_for = self._dropped_for or reason
        if self._transport is not None:
            self._transport.abort()

    async def close(self, timeout: float) -> None:
        """End the connection when what was sent before has gone out.

        :param timeout: seconds that this may take
        """
        self._dropped_for = "the connection was closed"
        self._flush()
        if self._transport is not None:
            self._transport.close()
            await asyncio.wait([self.gone], timeout=timeout)
            self.drop("closed")

    # -- called by asyncio --------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to put what the peer has sent."""
        return self._in

    def buffer_updated(self, nbytes: int) -> None:
        """Take so many bytes of it."""
        self._heard = True
        try:
            for packet in self._parser.feed(bytes(self._in[:nbytes])):
                if not self._answer(*packet):
                    self._received(*packet)
            self._flush()  # a turn of the loop later costs a tenth
        except ProtocolError as error:
            self.drop(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        reason = self._dropped_for or reason_of(exc)
        self.gone.set_result(reason)
        for future in self._expected:
            fail(future, self._error(reason))

    # -- within -------------------------------------------------------------

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _echoed(self, _args: list[bytes]) -> bool:
        """Whether there was no ERROR since the last ECHO_RES."""
        refused, self._refused = self._refused, False
        return not refused

    def _answer(self, kind: PacketType, args: list[bytes]) -> bool:
        """Give the first question its answer, if this is one."""
        expected = self._questions[0].answer if self._questions else None
        failed = False
        if kind is PacketType.ERROR:
            self._refused = True
            # None answers an ECHO_REQ: it is about something before.
            failed = expected not in (None, PacketType.ECHO_RES)
        if kind is not expected and not failed:
            return False
        _, read, future = self._questions.popleft()
        if failed:
            code, text = map(one_line, args)
            fail(future, self._error(f"{code}: {text}"))
        elif not future.done():  # or nobody waits for it any more
            future.set_result(read(args))
        return True

    def _error(self, reason: str) -> TransportError:
        return TransportError(f"job server {self._address}: {reason}")

    def _watch_later(self) -> None:
        self._loop.call_later(self._heartbeat, self._watch)

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
        self.echo()
        self._watch_later()


def fail(future: asyncio.Future[Any], error: TransportError) -> None:
    """End a future by an error that nobody needs to look at."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # it has been looked at


async def connect(
    address: Address,
    options: ConnectionOptions,
    greeting: bytes,
    received: Received,
    parser: Parser | None = None,
) -> Connection:
    """Connect, greet, and wait for the first answer: nothing else tells a
    job server from what only accepts connections.

    :raises TransportError: with the reason on one line
    """
    connection = Connection(address, options, greeting, received, parser)
    missing, hint = "not connected", "{}"
    try:
        async with asyncio.timeout(options.connect_timeout) as time_out:
            sock = await open_socket(address, options)
            missing, hint = "no answer", _TLS_HINT if options.ssl else _HINT
            await asyncio.get_running_loop().create_connection(
                lambda: connection,
                sock=sock,
                ssl=options.ssl,
                server_hostname=address.host if options.ssl else None,
            )
            try:
                await connection.answered
            except BaseException:
                connection.drop("given up")
                raise
            return connection
    except TransportError:
        reason = connection.gone.result()
    except (OSError, ValueError) as error:  # ValueError: of an odd name
        reason = reason_of(error)
        if time_out.expired():
            reason = f"{missing} within {options.connect_timeout:g} s"
    if not reason.startswith("TLS: "):
        reason = hint.format(reason)
    raise TransportError(reason)


def reason_of(error: Exception | None) -> str:
    """Why a connection was not made, or has ended.

    :param error: None if the peer has closed it
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        why = one_line(error.verify_message).rstrip(".")
        return f"TLS: the job server's certificate is refused: {why}"
    if isinstance(error, ssl.SSLError):
        reason = one_line(error.reason or str(error)).replace("_", " ").lower()
        _, alert, what = reason.rpartition(" alert ")
        if alert:  # what the job server says, most often of our certificate
            what = f"it says: {what}; check [gearman] ssl_cert and ssl_key"
        return f"TLS: {what}"
    if isinstance(error, OSError) and error.strerror:
        # asyncio's own words repeat the address.
        if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno)
        return one_line(error.strerror)
    # What asyncio makes of an end in the TLS handshake has no words.
    return one_line(str(error or "")) or "closed by the job server"
