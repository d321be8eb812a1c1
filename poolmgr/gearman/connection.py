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

_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it requires a client "
    "certificate: set [gearman] ssl_cert and ssl_key",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says our certificate has expired",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the authority of our "
    "certificate",
    "WRONG_VERSION_NUMBER": "what answers there does not speak TLS",
}
"""What the commonest errors of TLS mean, by OpenSSL's names."""

Read = Callable[[list[bytes]], object]
Received = Callable[[PacketType, list[bytes]], None]


class _Question(NamedTuple):
    answer: PacketType
    read: Read
    future: asyncio.Future[Any]


class Connection(asyncio.Protocol):
    """Packets that come and go, questions and their answers.

    :param address: of the job server, for errors
    :param greeting: what is sent first, with an ECHO_REQ at its end
    :param parser: finds packets in what the job server sends
    :param received: takes each packet that answers no question; a
        :exc:`ProtocolError` drops the connection
    :param heartbeat: seconds between two looks for a sign of life
    :ivar answered: done when the greeting was answered, or never will be
    :ivar gone: done when the connection has ended, with the reason
    """

    def __init__(
        self,
        address: Address,
        greeting: bytes,
        parser: Parser,
        received: Received,
        heartbeat: float,
    ) -> None:
        self._address = address
        self._parser = parser
        self._received = received
        self._heartbeat = heartbeat
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[str] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._dropped_for: TransportError | None = None
        self._out = [greeting]
        self.answered = quiet_future()
        self.answered.add_done_callback(lambda _: self._watch_later())
        # They are answered in their order.
        self._questions = deque(
            [_Question(PacketType.ECHO_RES, list, self.answered)]
        )
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
        future = quiet_future()
        if self.gone.done():
            future.set_exception(self._error(self.gone.result()))
        else:
            self._questions.append(_Question(answer, read, future))
            self.send(kind, *args)
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
        self._dropped_for = self._dropped_for or TransportError(reason)
        if self._transport is not None:
            self._transport.abort()

    async def close(self, timeout: float) -> None:
        """End the connection when what was sent before has gone out.

        :param timeout: seconds that this may take
        """
        self._dropped_for = TransportError("the connection was closed")
        self._flush()
        if self._transport is not None:
            self._transport.close()
            await asyncio.wait([self.gone], timeout=timeout)
            self.drop("closed")

    # -- called by asyncio --------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            for packet in self._parser.feed(data):
                if not self._answer(*packet):
                    self._received(*packet)
        except ProtocolError as error:
            self.drop(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        error = self._dropped_for or exc or ConnectionError()
        self.gone.set_result(reason_of(error))
        if not self.answered.done():
            self.answered.set_exception(error)
            self.answered.exception()  # seen: the loop may end right now
        for question in self._questions:
            if not question.future.done():
                reason = self._error(self.gone.result())
                question.future.set_exception(reason)

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
        if kind is PacketType.ERROR:
            self._refused = True
        if not self._questions:
            return False
        answer, read, future = self._questions[0]
        # No ERROR answers an ECHO_REQ: it is about something before.
        failed = kind is PacketType.ERROR and answer is not PacketType.ECHO_RES
        if kind is not answer and not failed:
            return False
        self._questions.popleft()
        if future.done():
            return True  # nobody waits for it any more
        if failed:
            said = f"{one_line(args[0])}: {one_line(args[1])}"
            future.set_exception(self._error(said))
        else:
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


def quiet_future() -> asyncio.Future[Any]:
    """A future whose error nobody needs to look at."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda f: f.cancelled() or f.exception())
    return future


async def connect(
    address: Address,
    options: ConnectionOptions,
    greeting: bytes,
    received: Received,
    parser: Parser | None = None,
) -> Connection:
    """Connect, greet, and wait for the first answer.

    Nothing else tells a job server from what only accepts connections.

    :param greeting: what is sent first; its end is answered
    :param received: takes each packet that answers no question; a
        :exc:`ProtocolError` drops the connection
    :raises TransportError: with the reason on one line
    """
    missing, hint = "not connected", "{}"
    try:
        async with asyncio.timeout(options.connect_timeout) as time_out:
            sock = await open_socket(address, options)
            missing = "no answer"
            hint = _TLS_HINT if options.ssl else _HINT
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(
                lambda: Connection(
                    address,
                    greeting,
                    parser or Parser(max_packet=options.max_packet),
                    received,
                    options.heartbeat,
                ),
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
    except (OSError, ValueError) as error:  # ValueError: of an odd name
        reason = reason_of(error)
        if time_out.expired():
            reason = f"{missing} within {options.connect_timeout:g} s"
        if not isinstance(error, ssl.SSLError):
            reason = hint.format(reason)
        raise TransportError(reason) from error


def reason_of(error: Exception) -> str:
    """Why a connection was not made, or has ended."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = one_line(error.verify_message).rstrip(".")
        return f"TLS: the job server's certificate is refused: {why}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        return f"TLS: {_ALERTS.get(reason) or one_line(reason)}"
    if isinstance(error, OSError) and error.strerror:
        # asyncio's own words repeat the address.
        if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno)
        return one_line(error.strerror)
    # An end without an error has no words.
    return one_line(str(error)) or "closed by the job server"
