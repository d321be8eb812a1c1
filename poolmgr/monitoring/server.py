"""The pages over HTTP, on threads of their own.

They answer when the worker's event loop hangs.
"""

import contextlib
import errno
import ipaddress
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer

from poolmgr.monitoring.collector import StateCollector
from poolmgr.monitoring.health import Check, LoopProbe, liveness, readiness
from poolmgr.monitoring.history import Statistics
from poolmgr.monitoring.metrics import CONTENT_TYPE
from poolmgr.monitoring.page import render
from poolmgr.monitoring.queues import Queues
from poolmgr.settings import MonitoringSettings
from poolmgr.text import one_line
from poolmgr.worker.state import State

LOG = logging.getLogger(__name__)

#: Most connections at once.
MAX_CONNECTIONS = 32
#: Longest request line and headers, in bytes; a request may have no body.
MAX_HEADER = 8192
#: Seconds that a connection may last.
TIMEOUT = 10.0
#: Headers of every answer: a page needs nothing but its own style.
_HEADERS = {
    "Allow": "GET, HEAD",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; "
    "style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
#: A Host header: an IPv6 address in brackets or a name, and a port.
_HOST = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::[0-9]*)?")
#: Content types.
_TEXT = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"

#: Status, content type, text.
Response = tuple[HTTPStatus, str, str]


class Pages:
    """The WSGI application.

    :param state: what the worker is doing
    :param statistics: what it has done
    :param queues: the job servers' queues
    :param hosts: names by which browsers may ask for the pages, besides
        addresses and "localhost"
    """

    def __init__(
        self,
        state: State,
        statistics: Statistics,
        queues: Queues,
        hosts: Iterable[str],
    ) -> None:
        self._state = state
        self._statistics = statistics
        self._hosts = {"localhost", *(name.lower() for name in hosts)}
        self._probe = LoopProbe(state.service.call)
        collector = StateCollector(state, queues)
        statistics.metrics.watch(collector, state.actions)
        self._pages: dict[str, Callable[[], Response]] = {
            "/": self._status,
            "/healthz": lambda: _verdict(liveness(state, self._probe)),
            "/metrics": lambda: (
                HTTPStatus.OK,
                CONTENT_TYPE,
                statistics.metrics.text(),
            ),
            "/readyz": lambda: _verdict(self._checks()),
        }

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> list[bytes]:
        """Answer a request."""
        status, content_type, text = self._answer(environ)
        body = text.encode("utf-8", "backslashreplace")
        headers = [
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            *_HEADERS.items(),
        ]
        start_response(f"{status.value} {status.phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: WSGIEnvironment) -> Response:
        host = environ.get("HTTP_HOST")
        if host is not None and not self._is_own_name(host):
            text = (
                f"not served under the name {one_line(host, 100)!r}: ask by "
                "address, or add the name to [monitoring] hosts\n"
            )
            return HTTPStatus.MISDIRECTED_REQUEST, _TEXT, text
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            text = "only GET and HEAD\n"
            return HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, text
        page = self._pages.get(environ["PATH_INFO"])
        if page is None:
            text = f"there are {' '.join(self._pages)}\n"
            return HTTPStatus.NOT_FOUND, _TEXT, text
        return page()

    def _is_own_name(self, host: str) -> bool:
        """Whether a Host header names this machine.

        Otherwise it is DNS rebinding: a foreign web page, whose name leads
        here, has a browser ask.
        """
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = (found[1] or found[2] or "").rstrip(".").lower()
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True

    def _checks(self) -> list[Check]:
        return [
            *liveness(self._state, self._probe),
            *readiness(self._state, self._statistics.services),
        ]

    def _status(self) -> Response:
        page = render(self._state, self._statistics, self._checks())
        return HTTPStatus.OK, _HTML, page


class SingleRequest(HTTPRequestParser):  # type: ignore[misc]
    """A request after which the connection is closed.

    Otherwise a client could send many at once, read none of the answers, and
    have waitress keep them all.
    """

    def parse_header(self, header_plus: bytes) -> None:
        """Read the headers."""
        super().parse_header(header_plus)
        self.headers["CONNECTION"] = "close"


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection for one request."""

    parser_class = SingleRequest


class Server(TcpWSGIServer):  # type: ignore[misc]
    """Waitress, which also closes connections that are old or too many.

    Waitress itself waits for a client as long as something comes from it now
    and then, and accepts no one else when it has too many.
    """

    channel_class = Channel

    def maintenance(self, now: float) -> None:
        """Close what is too old; called once a second."""
        for channel in self._idle_channels():
            if channel.creation_time < now - TIMEOUT:
                channel.will_close = True
                # Not only marked: waitress would flush the answer before, and
                # this client may never read it.
                with contextlib.suppress(OSError):
                    channel.socket.shutdown(socket.SHUT_RDWR)

    def handle_accept(self) -> None:
        """Accept a connection, and close the oldest if there are too many."""
        super().handle_accept()
        idle = self._idle_channels()
        if idle and len(self.active_channels) > MAX_CONNECTIONS:
            min(idle, key=lambda channel: channel.creation_time).handle_close()

    def _idle_channels(self) -> list[Any]:
        """The connections for which no page is being made."""
        return [x for x in self.active_channels.values() if not x.requests]


def serve(settings: MonitoringSettings, pages: Pages) -> None:
    """Serve the pages until the process ends.

    If the address cannot be listened on, this is one line in the log: jobs
    matter more.
    """
    sock = _listen(settings)
    if sock is None:
        return
    server = Server(
        pages,
        _sock=sock,
        sockinfo=(sock.family, sock.type, sock.proto, sock.getsockname()),
        bind_socket=False,
        asyncore_use_poll=True,  # select() fails beyond 1,024 open files
        backlog=MAX_CONNECTIONS,
        cleanup_interval=1,
        ident=None,
        log_socket_errors=False,
        max_request_body_size=1,
        max_request_header_size=MAX_HEADER,
    )
    # It would warn whenever more pages are asked for than it has threads.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    LOG.info("status page and metrics on %s", _url(sock))
    threading.Thread(
        target=server.run, name="poolmgr-http", daemon=True
    ).start()


def _listen(settings: MonitoringSettings) -> socket.socket | None:
    address = settings.address
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, settings.port), family=family)
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            why = "the port is taken, by another worker maybe"
        LOG.warning(
            "no status page and no metrics, for %s port %d cannot be listened "
            "on ([monitoring] address, port): %s",
            one_line(address),
            settings.port,
            one_line(why),
        )
    return None


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _verdict(checks: Iterable[Check]) -> Response:
    found = list(checks)
    good = all(check.good for check in found)
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return status, _TEXT, "".join(f"{check}\n" for check in found)
