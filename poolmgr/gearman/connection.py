"""Open a connection to a job server, held up by nothing but itself."""

import asyncio
import random
import socket
import ssl as _ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from poolmgr.errors import TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.reasons import reason_of

#: Seconds after which a host's next address is tried as well.
HEAD_START = 0.25

_Found = list[tuple[Any, ...]]  # what getaddrinfo returns


@dataclass(frozen=True)
class ConnectionOptions:
    """Settings of every connection; times are in seconds.

    :ivar ssl: None is plain TCP; see :func:`poolmgr.gearman.client_context`
    :ivar connect_timeout: for name look-up, TCP, TLS and the first answer
        together
    :ivar heartbeat: how often the server is asked for a sign of life, and
        how long it has to give one
    :ivar keepalive: whether TCP looks for vanished peers, too
    :ivar keepalive_idle: silence before the first TCP probe
    :ivar keepalive_interval: between two TCP probes
    :ivar keepalive_count: unanswered TCP probes that end the connection
    :ivar retry_first: wait before the first reconnect; it doubles each time
    :ivar retry_longest: the longest wait before a reconnect
    :ivar max_packet: bytes; a peer that announces more is dropped. Only a
        job that is longer is taken, with its payload cut.
    """

    ssl: _ssl.SSLContext | None = None
    connect_timeout: float = 10
    heartbeat: float = 10
    keepalive: bool = True
    keepalive_idle: int = 10
    keepalive_interval: int = 5
    keepalive_count: int = 3
    retry_first: float = 0.1
    retry_longest: float = 5
    max_packet: int = 16 * 1024 * 1024


class Connection(asyncio.BaseProtocol):
    """One connection, whatever is spoken on it.

    :ivar answered: done when the job server has answered for the first
        time; the error if it never will
    """

    def __init__(self) -> None:
        self.answered: asyncio.Future[Any] = quiet_future()
        self._transport: asyncio.Transport | None = None
        self._dropped_for: str | None = None

    def drop(self, reason: str) -> None:
        """End the connection at once; what was not yet sent is lost."""
        if self._dropped_for is None:
            self._dropped_for = reason
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.answered.done():
            if self._dropped_for is not None:
                exc = TransportError(self._dropped_for)
            self.answered.set_exception(exc or ConnectionError())


C = TypeVar("C", bound=Connection)


def quiet_future() -> asyncio.Future[Any]:
    """A future whose error nobody needs to look at."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda f: f.cancelled() or f.exception())
    return future


_NO_TLS = "it may not speak TLS"
_NO_JOB_SERVER = "it may not be a job server (gearmand), or speak only TLS"
# With TLS 1.3 our handshake ends before the server has looked at our
# certificate, and not every server says what it thinks of it.
_REFUSED = "it may not accept our certificate, or have no job server behind it"


async def connect(
    address: Address, options: ConnectionOptions, factory: Callable[[], C]
) -> C:
    """Connect and wait for the first answer.

    Nothing else tells a job server from what only accepts connections.

    :param factory: makes the connection, which asks something when it is
        made
    :raises TransportError: with the reason on one line
    """
    tls = options.ssl is not None
    limit = options.connect_timeout
    missing, prefix, hint = "not connected", "", ""
    try:
        async with asyncio.timeout(limit) as time_out:
            sock = await _open_socket(address, options)
            if tls:
                missing, prefix, hint = "no handshake", "TLS: ", _NO_TLS
            _, connection = await asyncio.get_running_loop().create_connection(
                factory,
                sock=sock,
                ssl=options.ssl,
                server_hostname=address.host if tls else None,
            )
            missing, hint = "no answer", _REFUSED if tls else _NO_JOB_SERVER
            try:
                await connection.answered
            except BaseException:
                connection.drop("given up")
                raise
            return connection
    except (OSError, ValueError) as error:  # ValueError: of an odd name
        reason = reason_of(error)
        if time_out.expired():
            reason = f"{missing} within {limit:g} s"
        if hint and not isinstance(error, _ssl.SSLError):
            reason = f"{prefix}{reason}: {hint}"
        raise TransportError(reason) from error


async def _open_socket(
    address: Address, options: ConnectionOptions
) -> socket.socket:
    """Connect to the first of the host's addresses that answers."""
    found = await _look_up(address)
    # One of them may accept connections and serve none: begin with another
    # each time.
    random.shuffle(found)
    tries: set[asyncio.Task[socket.socket]] = set()
    failure: BaseException = OSError("the host has no address")
    try:
        while found or tries:
            if found:
                attempt = _connect_socket(found.pop(), options)
                tries.add(asyncio.create_task(attempt))
            done, _ = await asyncio.wait(
                tries,
                timeout=HEAD_START if found else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                tries.remove(task)
                error = task.exception()
                if error is None:
                    return task.result()
                failure = error
        raise failure
    finally:
        for task in tries:
            task.add_done_callback(_close_socket)
            task.cancel()


def _close_socket(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _look_up(address: Address) -> _Found:
    """The host's addresses.

    The thread is a daemon: the end of the process must not wait for a name
    that does not resolve.
    """
    future: Future[_Found] = Future()
    future.set_running_or_notify_cancel()

    def work() -> None:
        try:
            future.set_result(
                socket.getaddrinfo(
                    address.host, address.port, type=socket.SOCK_STREAM
                )
            )
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=work, name="gearman-dns", daemon=True).start()
    return await asyncio.wrap_future(future)


async def _connect_socket(
    found: tuple[Any, ...], options: ConnectionOptions
) -> socket.socket:
    family, kind, protocol, _name, where = found
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        if options.keepalive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in (
                ("TCP_KEEPIDLE", options.keepalive_idle),
                ("TCP_KEEPINTVL", options.keepalive_interval),
                ("TCP_KEEPCNT", options.keepalive_count),
            ):
                if hasattr(socket, name):  # not every system has them
                    option = getattr(socket, name)
                    sock.setsockopt(socket.IPPROTO_TCP, option, value)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock
