"""A connection to a job server."""

import asyncio
import fcntl
import os
import ssl
import termios
from array import array
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from poolmgr.errors import TransportError
from poolmgr.gearman import protocol
from poolmgr.gearman.endpoint import Address, ConnectionOptions, open_socket
from poolmgr.gearman.protocol import PacketType, Parser
from poolmgr.text import one_line

#: Likely causes if the peer accepts connections and does not answer.
_HINT = "{}: it may not be a job server (gearmand), or speak only TLS"
# With TLS 1.3 the client's handshake ends before the server has checked the
# client's certificate, and some servers then close without an alert.
_TLS_HINT = (
    "TLS: {}: it may not speak TLS, may not accept our certificate, or have "
    "no job server behind it"
)

Read = Callable[[list[bytes]], object]
Received = Callable[[PacketType, list[bytes]], None]


class Connection(asyncio.BufferedProtocol):
    """A connection to a job server, with a heartbeat.

    :param address: the job server, for error messages
    :param greeting: bytes to send first; they must end with an ECHO_REQ
    :param received: called with each packet that answers no request; a
        :exc:`ProtocolError` that it raises drops the connection
    :param parser: parses the job server's data
    :ivar answered: done when the greeting was answered; fails if it is not
    :ivar gone: done when the connection has ended; its result is the reason
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
        self._drop_reason: str | None = None
        # A new buffer for each read would cost a fifth of a job's time.
        self._in = memoryview(bytearray(64 * 1024))
        self._out = [greeting]
        self._pending: set[asyncio.Future[Any]] = set()
        self.answered = self.expect()
        # Until then connect() limits the time.
        self.answered.add_done_callback(lambda _: self._start_heartbeat())
        # The requests in flight; job servers answer them in their order.
        self._requests: deque[tuple[PacketType, Read, asyncio.Future[Any]]] = (
            deque([(PacketType.ECHO_RES, list, self.answered)])
        )
        self._refused = False  # an ERROR has arrived since the last ECHO_RES
        self._is_alive = True  # data has arrived since the last heartbeat
        self._unsent = 0  # bytes that were not sent at that time

    def send(self, kind: PacketType, *args: bytes) -> None:
        """Send a packet; it is lost if the connection is."""
        # All packets of one iteration of the loop are written at once.
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(protocol.encode(kind, *args))

    def ask(
        self,
        answer: PacketType,
        kind: PacketType,
        *args: bytes,
        read: Read = list,
    ) -> asyncio.Future[Any]:
        """Send a request and return its future answer.

        The future fails with a :exc:`TransportError` if the answer is an
        ERROR or the connection is lost.

        :param answer: the type of the answer
        :param read: converts the arguments of the answer; called before the
            next packet is handled
        """
        future = self.expect()
        self._requests.append((answer, read, future))
        self.send(kind, *args)
        return future

    def expect(self) -> asyncio.Future[Any]:
        """Return a future that fails if the connection ends first."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        if self.gone.done():
            fail(future, self._error(self.gone.result()))
        return future

    def echo(self) -> asyncio.Future[bool]:
        """Ask for a sign of life; False if an ERROR preceded the answer."""
        return self.ask(
            PacketType.ECHO_RES, PacketType.ECHO_REQ, b"", read=self._echoed
        )

    def deliver(self, kind: PacketType, *args: bytes) -> asyncio.Future[bool]:
        """Send a packet; False if the job server refuses it.

        An ERROR does not name the packet that caused it. Between the answers
        to two ECHO_REQ it can only belong to the packet between them.
        """
        self.echo()
        self.send(kind, *args)
        return self.echo()

    def drop(self, reason: str) -> None:
        """End the connection at once; unsent packets are lost."""
        self._drop_reason = self._drop_reason or reason
        if self._transport is not None:
            self._transport.abort()

    # -- called by asyncio --------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for the next data."""
        return self._in

    def buffer_updated(self, nbytes: int) -> None:
        """Handle the data in the buffer."""
        self._is_alive = True
        try:
            for packet in self._parser.feed(bytes(self._in[:nbytes])):
                if not self._answer(*packet):
                    self._received(*packet)
            # The next iteration of the loop would cost a tenth more.
            self._flush()
        except protocol.ProtocolError as error:
            self.drop(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        # After abort() the exception is None, as after an EOF.
        reason = self._drop_reason or reason_of(exc)
        self.gone.set_result(reason)
        # The set does not change here: callbacks run in the next iteration.
        for future in self._pending:
            fail(future, self._error(reason))

    # -- internals ----------------------------------------------------------

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _echoed(self, _args: list[bytes]) -> bool:
        refused, self._refused = self._refused, False
        return not refused

    def _answer(self, kind: PacketType, args: list[bytes]) -> bool:
        """Answer the oldest request; return whether the packet does."""
        expected = self._requests[0][0] if self._requests else None
        failed = False
        if kind is PacketType.ERROR:
            self._refused = True
            # An ECHO_REQ is never refused: the ERROR is about another packet.
            failed = expected not in (None, PacketType.ECHO_RES)
        if kind is not expected and not failed:
            return False
        _, read, future = self._requests.popleft()
        if failed:
            code, text = map(one_line, args)
            fail(future, self._error(f"{code}: {text}"))
        elif not future.done():  # it is done if its caller was cancelled
            future.set_result(read(args))
        return True

    def _error(self, reason: str) -> TransportError:
        return TransportError(f"job server {self._address}: {reason}")

    def _start_heartbeat(self) -> None:
        self._loop.call_later(self._heartbeat, self._check_heartbeat)

    def _check_heartbeat(self) -> None:
        if self._transport is None:
            return
        # A job server that receives a long answer over a slow link is alive,
        # too: the heartbeat waits behind that answer.
        unsent = _count_unsent(self._transport)
        if not self._is_alive and unsent >= self._unsent:
            self.drop(f"no sign of life for {self._heartbeat:g} s")
            return
        self._is_alive, self._unsent = False, unsent
        self.echo()
        self._start_heartbeat()


def _count_unsent(transport: asyncio.Transport) -> int:
    """Return how many bytes the peer has not acknowledged."""
    sock = transport.get_extra_info("socket")
    # asyncio counts only what the kernel has not taken.
    count = array("i", [0])
    with suppress(OSError, ValueError):  # the socket has just been closed
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, count)
    return transport.get_write_buffer_size() + count[0]


def fail(future: asyncio.Future[Any], error: TransportError) -> None:
    """End a future with an error that nobody has to retrieve."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # or else asyncio would log it


async def connect(
    address: Address,
    options: ConnectionOptions,
    greeting: bytes,
    received: Received,
    parser: Parser | None = None,
) -> Connection:
    """Connect, send the greeting and wait for a job server's answer.

    :raises TransportError: the connection failed; its text is the reason
    """
    connection = Connection(address, options, greeting, received, parser)
    stage, hint = "not connected", "{}"
    try:
        async with asyncio.timeout(options.connect_timeout):
            sock = await open_socket(address, options)
            stage, hint = "no answer", _TLS_HINT if options.ssl else _HINT
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
        # The text of the error has the address, which callers add.
        reason = connection.gone.result()
    except TimeoutError:
        reason = f"{stage} within {options.connect_timeout:g} s"
    except (OSError, ValueError) as error:  # ValueError: an odd host name
        reason = reason_of(error)
    # A TLS error is more exact than the hint.
    if not reason.startswith("TLS: "):
        reason = hint.format(reason)
    raise TransportError(reason)


def reason_of(error: Exception | None) -> str:
    """Return why connecting failed or a connection ended, on one line.

    :param error: the error; None if the peer closed the connection
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        why = one_line(error.verify_message).rstrip(".")
        return f"TLS: the job server's certificate is refused: {why}"
    if isinstance(error, ssl.SSLError):
        reason = one_line(error.reason or str(error)).replace("_", " ").lower()
        _, alert, what = reason.rpartition(" alert ")
        if alert:  # sent by the job server, mostly about our certificate
            what = f"it says: {what}; check [gearman] ssl_cert and ssl_key"
        return f"TLS: {what}"
    if isinstance(error, OSError) and error.strerror:
        # asyncio's own text repeats the address.
        # Errors of name look-ups have negative numbers and own texts.
        if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno)
        return one_line(error.strerror)
    # An EOF in the TLS handshake has no text.
    return one_line(str(error or "")) or "closed by the job server"
