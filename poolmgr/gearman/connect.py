"""Open a connection to a job server, held up by nothing but itself."""

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from poolmgr.errors import TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.diagnosis import describe_silence
from poolmgr.gearman.options import ConnectionOptions
from poolmgr.gearman.tls import NO_REASON, reason_of_refusal
from poolmgr.text import one_line

P = TypeVar("P", bound=asyncio.BaseProtocol)

#: Seconds after which a host's next address is tried as well.
HEAD_START = 0.25

_Found = tuple[int, Any]  # address family and socket address


class Resolver:
    """Looks up the host of one job server.

    The look-up has a thread of its own, and never more than one: the
    loop's few threads could all be held by names that do not resolve, and
    the end of the process must not wait for them.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._pending: asyncio.Future[list[_Found]] | None = None
        self._first = 0

    async def addresses(self) -> list[_Found]:
        """The host's addresses, in the order in which to try them.

        It is the system's, until :meth:`prefer_next` turns it.

        :raises OSError: when there is none
        """
        if (literal := _literal(self._address)) is not None:
            return [literal]
        if self._pending is None or self._pending.done():
            self._pending = self._look_up()
        found = await asyncio.shield(self._pending)
        first = self._first % len(found) if found else 0
        return found[first:] + found[:first]

    def prefer_next(self) -> None:
        """Begin with another address from now on: this one does not serve,
        even if it takes connections."""
        self._first += 1

    def _look_up(self) -> asyncio.Future[list[_Found]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[_Found]] = loop.create_future()
        # Nobody may be waiting any more when it fails.
        future.add_done_callback(lambda f: f.cancelled() or f.exception())

        def work() -> None:
            try:
                found = _getaddrinfo(self._address)
                settle = partial(future.set_result, found)
            except (OSError, ValueError) as error:
                settle = partial(future.set_exception, error)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle)

        thread = threading.Thread(
            target=work, name="gearman-resolver", daemon=True
        )
        thread.start()
        return future


def _literal(address: Address) -> _Found | None:
    try:
        version = ipaddress.ip_address(address.host).version
    except ValueError:
        return None
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return family, (address.host, address.port)


def _getaddrinfo(address: Address) -> list[_Found]:
    infos = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM
    )
    return [(family, where) for family, _, _, _, where in infos]


async def connect(
    address: Address,
    options: ConnectionOptions,
    factory: Callable[[], P],
    resolver: Resolver | None = None,
) -> P:
    """Connect within ``options.connect_timeout``, TLS included.

    :param factory: makes the asyncio protocol of the connection
    :raises TransportError: with the reason on one line
    """
    limit = options.connect_timeout
    connected = False
    try:
        async with asyncio.timeout(limit) as time_out:
            sock = await _open_socket(resolver or Resolver(address), options)
            connected = True
            return await _start(sock, address, options, factory)
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        if time_out.expired():
            reason = f"not connected within {limit:g} s"
            if connected:
                reason = (
                    f"TLS: no handshake within {limit:g} s: it may not speak "
                    "TLS"
                )
        raise TransportError(reason) from error


async def _open_socket(
    resolver: Resolver, options: ConnectionOptions
) -> socket.socket:
    """Connect to the first of the host's addresses that answers.

    The next is tried when the one before has failed, or has not answered
    for a moment; all that were tried go on.
    """
    left = deque(await resolver.addresses())
    failure = OSError("the host has no address")
    tries: set[asyncio.Task[socket.socket]] = set()
    try:
        while left or tries:
            if left:
                attempt = _connect_socket(*left.popleft(), options)
                tries.add(asyncio.create_task(attempt))
            done, tries = await asyncio.wait(
                tries,
                timeout=HEAD_START if left else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                if isinstance(error := task.exception(), OSError):
                    failure = error
                else:
                    tries |= done - {task}
                    return task.result()
        raise failure
    finally:
        for task in tries:
            task.add_done_callback(_close_socket)
            task.cancel()


def _close_socket(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect_socket(
    family: int, where: Any, options: ConnectionOptions
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _tune(sock, options)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def _tune(sock: socket.socket, options: ConnectionOptions) -> None:
    tcp = socket.IPPROTO_TCP
    # A job is small packets in turn: Nagle would add 40 ms to each.
    sock.setsockopt(tcp, socket.TCP_NODELAY, 1)
    if options.keepalive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", options.keepalive_idle),
            ("TCP_KEEPINTVL", options.keepalive_interval),
            ("TCP_KEEPCNT", options.keepalive_count),
        ):
            if hasattr(socket, name):
                sock.setsockopt(tcp, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = int(options.user_timeout * 1000)
        sock.setsockopt(tcp, socket.TCP_USER_TIMEOUT, milliseconds)


async def _start(
    sock: socket.socket,
    address: Address,
    options: ConnectionOptions,
    factory: Callable[[], P],
) -> P:
    loop = asyncio.get_running_loop()
    try:
        if options.ssl is None:
            _, protocol = await loop.create_connection(factory, sock=sock)
        else:
            _, protocol = await loop.create_connection(
                factory,
                sock=sock,
                ssl=options.ssl,
                server_hostname=address.host,
                ssl_handshake_timeout=options.connect_timeout,
                ssl_shutdown_timeout=2,
            )
    except BaseException as error:
        sock.close()
        if options.ssl is not None and isinstance(error, ConnectionError):
            # What asyncio makes of an end in the handshake has no words.
            why = reason_of(error) if error.args else "closed"
            raise TransportError(
                f"TLS: {why} in the handshake: it may not speak TLS"
            ) from error
        raise
    return protocol


def reason_of(error: BaseException | None) -> str:
    """Why a connection failed or ended, on one line."""
    if error is None:
        return "closed by the job server"
    if isinstance(error, ssl.SSLError):
        return reason_of_refusal(error)
    if isinstance(error, OSError) and error.strerror:
        if error.errno is not None and error.errno > 0:
            # asyncio's own words have the address, which is said already.
            return os.strerror(error.errno)
        return one_line(error.strerror)
    return one_line(str(error)) or type(error).__name__


def reason_of_silence(
    error: BaseException | None, options: ConnectionOptions
) -> str:
    """Why a connection ended on which the job server has said nothing."""
    reason = reason_of(error)
    if isinstance(error, ssl.SSLError):
        return reason
    if options.ssl is None:
        return f"{reason}: {describe_silence(options)}"
    return f"TLS: {reason} after the handshake: {NO_REASON}"
