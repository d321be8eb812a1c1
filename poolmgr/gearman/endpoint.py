"""Addresses of job servers, connection options, TLS and sockets."""

import asyncio
import contextlib
import re
import socket
import ssl as _ssl
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from random import SystemRandom
from typing import Any, Self

from poolmgr.errors import ConfigError
from poolmgr.text import one_line

#: Seconds for each of a host's addresses before the next is tried; the kernel
#: would wait two minutes for one that is down.
HEAD_START = 0.5

_FORM = re.compile(
    r"(?:\[(?P<v6>[^][\s]+)\]|(?P<name>[^][:\s]+))(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True)
class Address:
    """Host and port of a job server.

    :ivar host: a host name or IP address; IPv6 without brackets
    :ivar port: 1 to 65535
    """

    host: str
    port: int = 4730

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``.

        :raises ConfigError: the text has another form
        """
        match = _FORM.fullmatch(text.strip())
        port = int(match["port"] or cls.port) if match else 0
        # The pattern lets control characters pass.
        if match is None or not text.isprintable() or not 0 < port <= 65535:
            raise ConfigError(
                f"job server {one_line(text)!r} is not HOST, HOST:PORT, "
                "[IPV6] or [IPV6]:PORT with a port from 1 to 65535"
            )
        return cls(match["v6"] or match["name"], port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class ConnectionOptions:
    """Options of connections; times are in seconds.

    :ivar ssl: the TLS context, from :func:`client_context`; None for plain
        TCP
    :ivar connect_timeout: limit of name look-up, TCP, TLS and the first
        answer together
    :ivar heartbeat: interval of the requests for a sign of life, and the time
        limit of their answers
    :ivar keepalive: whether to turn TCP keepalive on
    :ivar keepalive_idle: idle time before the first TCP probe
    :ivar keepalive_interval: time between two TCP probes
    :ivar keepalive_count: unanswered TCP probes that end the connection
    :ivar retry_first: wait before the first reconnect; doubled each time
    :ivar retry_longest: the longest wait before a reconnect
    :ivar max_packet: longest packet in bytes; a longer one ends the
        connection, except a job, whose payload is cut
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


def client_context(
    ca: str | None, cert: str | None, key: str | None
) -> _ssl.SSLContext | None:
    """Return a TLS context for clients of job servers.

    It verifies the server's certificate and host name, and requires TLS 1.2
    or newer.

    :param ca: file of the certificate authorities to trust
    :param cert: file of our certificate, followed by intermediate ones
    :param key: file of our private key, without a pass phrase
    :returns: None if all three are unset
    :raises ConfigError: a file is missing or cannot be used
    """
    if not (ca or cert or key):
        return None
    if not ca or bool(cert) != bool(key):
        raise ConfigError(
            "TLS needs a CA file to verify the job servers with, a "
            "certificate its key, and a key its certificate"
        )
    # Unlike ssl.create_default_context(), this trusts no system authority.
    # PROTOCOL_TLS_CLIENT verifies the certificate and the host name.
    context = _ssl.SSLContext(_ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _ssl.TLSVersion.TLSv1_2
    what = f"CA file {ca!r}"
    try:
        context.load_verify_locations(ca)
        if cert:
            what = f"certificate {cert!r} and key {key!r}"
            # Without this OpenSSL would ask on the terminal.
            context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        # The text of an OpenSSL error names a line of its C source.
        why = getattr(error, "reason", "") or getattr(error, "strerror", "")
        raise ConfigError(
            one_line(f"TLS: {what} cannot be used ({why or error})")
        ) from error
    return context


def _no_password() -> bytes:
    raise ValueError("the key has a pass phrase")


async def open_socket(
    address: Address, options: ConnectionOptions
) -> socket.socket:
    """Connect to the first of the host's addresses that answers."""
    found = await _look_up(address)
    # An address may accept connections and not answer: the next attempt
    # should begin with another one.
    SystemRandom().shuffle(found)
    # The last address may take what is left of the connect timeout.
    *others, last = found
    for each in others:
        with contextlib.suppress(OSError):
            async with asyncio.timeout(HEAD_START):
                return await _connect_socket(each, options)
    return await _connect_socket(last, options)


async def _look_up(address: Address) -> list[tuple[Any, ...]]:
    """Return the results of getaddrinfo() for a host.

    It runs in a daemon thread, unlike loop.getaddrinfo(): the process must not
    wait for it at exit.
    """
    future: Future[list[tuple[Any, ...]]] = Future()
    # Otherwise a cancelled caller would cancel it, and set_result() would
    # raise.
    future.set_running_or_notify_cancel()
    where = address.host, address.port

    def work() -> None:
        try:
            found = socket.getaddrinfo(*where, type=socket.SOCK_STREAM)
            future.set_result(found)
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=work, name="gearman-dns", daemon=True).start()
    return await asyncio.wrap_future(future)


async def _connect_socket(
    found: tuple[Any, ...], options: ConnectionOptions
) -> socket.socket:
    family, kind, protocol, _name, where = found
    sock = socket.socket(family, kind, protocol)
    tcp = socket.IPPROTO_TCP
    try:
        sock.setblocking(False)
        # asyncio turns TCP_NODELAY on when it takes the socket over.
        if options.keepalive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            idle, interval = options.keepalive_idle, options.keepalive_interval
            sock.setsockopt(tcp, socket.TCP_KEEPIDLE, idle)
            sock.setsockopt(tcp, socket.TCP_KEEPINTVL, interval)
            sock.setsockopt(tcp, socket.TCP_KEEPCNT, options.keepalive_count)
        await asyncio.get_running_loop().sock_connect(sock, where)
    # A time limit ends an attempt by a cancel, too.
    except BaseException:
        sock.close()
        raise
    return sock
