"""A small HTTP server that nobody can hurt the worker by.

It has a thread and an event loop of its own; so many connections, so long a
request, so much time for each, and one request a connection.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from poolmgr.text import one_line
from poolmgr.threads import start_daemon

LOG = logging.getLogger(__name__)

#: Most connections at once.
CONNECTIONS = 32
#: Longest request, in bytes, without a body: none is read.
LONGEST = 8192
#: Seconds that a connection may last, answer and all.
PATIENCE = 10.0
#: Said with every answer: no page needs more than its own style.
_HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; "
    "style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


@dataclass(frozen=True)
class Response:
    """An answer.

    :ivar kind: its content type
    """

    status: int
    body: str
    kind: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self, with_body: bool) -> bytes:
        """As it goes over the wire."""
        body = self.body.encode("utf-8", "backslashreplace")
        headers = {
            "Content-Type": self.kind,
            "Content-Length": str(len(body)),
            **_HEADERS,
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status} {_REASONS[self.status]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return head + body if with_body else head


class Refusal(Exception):
    """A request that is not served."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        self.response = Response(status, f"{why}\n", headers=headers)
        super().__init__(why)


Answer = Callable[[str], Awaitable[Response]]


class HttpServer:
    """Serves pages.

    :param sock: listens; closed in the end
    :param answer: makes the answer for a path, on the server's own loop
    :param hosts: names that it may be asked by, besides addresses and
        "localhost": a page of somebody else's cannot have a browser ask for
        ours by a name that leads here
    """

    def __init__(
        self, sock: socket.socket, answer: Answer, hosts: Collection[str] = ()
    ) -> None:
        self._sock = sock
        self._answer = answer
        self._hosts = {"localhost", *(name.lower() for name in hosts)}
        self._open = 0
        # Connections whose request is not there yet, the oldest first.
        self._unheard: dict[asyncio.StreamWriter, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._started = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve, until :meth:`close`."""
        self._thread = start_daemon("poolmgr-http", self._run)
        self._started.wait()

    def close(self) -> None:
        """Listen no more; what is being answered is broken off."""
        if self._loop is not None and self._end is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._end.set)
        if self._thread is not None:
            self._thread.join(2.0)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._started.set()
            self._sock.close()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        server = await asyncio.start_server(
            self._connected, sock=self._sock, limit=LONGEST
        )
        self._started.set()
        async with server:
            await self._end.wait()

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._open >= CONNECTIONS:
            # Who has been at his request for longest goes first.
            slowest = next(iter(self._unheard), writer)
            slowest.transport.abort()
            if slowest is writer:
                return
        self._open += 1
        try:
            async with asyncio.timeout(PATIENCE):
                await self._exchange(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # it is the client's affair
        except Exception:
            LOG.exception("a defect of the status pages")
        finally:
            self._open -= 1
            # Without waiting for who does not read.
            writer.transport.abort()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = [""]
        self._unheard[writer] = None
        try:
            head = await _head(reader)
            response = await self._answer(self._path(head))
        except Refusal as refusal:
            response = refusal.response
        finally:
            self._unheard.pop(writer, None)
        writer.write(response.encoded(not head[0].startswith("HEAD ")))
        await writer.drain()
        writer.write_eof()
        # Until the client has it all: what it still says would make the
        # system take the answer back.
        while await reader.read(LONGEST):
            pass

    def _path(self, head: list[str]) -> str:
        """What a request asks for.

        :raises Refusal: it is not served
        """
        method, target, version = [*head[0].split(" "), "", "", ""][:3]
        if not (version.startswith("HTTP/1.") and target.startswith("/")):
            raise Refusal(400, "this is no request of HTTP/1")
        if method not in ("GET", "HEAD"):
            raise Refusal(405, "only GET and HEAD", Allow="GET, HEAD")
        hosts = [
            value.strip()
            for name, _colon, value in (x.partition(":") for x in head[1:])
            if name.strip().lower() == "host"
        ]
        if len(hosts) > 1:
            raise Refusal(400, "more than one Host")
        if hosts and not self._may_be_asked_by(hosts[0]):
            raise Refusal(
                421,
                f"not served under the name {one_line(hosts[0], 100)!r}: ask "
                "by address, or add the name to [monitoring] hosts",
            )
        return target.partition("?")[0]

    def _may_be_asked_by(self, host: str) -> bool:
        name = host.rpartition(":")[0] if _has_port(host) else host
        name = name.removeprefix("[").removesuffix("]").rstrip(".").lower()
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True


async def _head(reader: asyncio.StreamReader) -> list[str]:
    """The lines of a request's head.

    :raises Refusal: it is too long
    """
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise Refusal(431, f"at most {LONGEST} bytes are read") from None
    return raw.decode("latin-1").rstrip("\r\n").split("\r\n")


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit() and (
        host.count(":") == 1 or "]:" in host
    )
