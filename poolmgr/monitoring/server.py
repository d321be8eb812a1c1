"""The pages over HTTP, on threads of their own.

They answer when the worker's event loop hangs.
"""

import contextlib
import ipaddress
import logging
import socket
import threading
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import generate_latest
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer

from poolmgr.gearman import ConnectionOptions
from poolmgr.monitoring.collector import StateCollector
from poolmgr.monitoring.health import liveness, readiness
from poolmgr.monitoring.page import render
from poolmgr.monitoring.statistics import Statistics
from poolmgr.settings import MonitoringSettings
from poolmgr.text import one_line
from poolmgr.worker.service import Service

LOG = logging.getLogger(__name__)

#: Connections beyond which the oldest are closed; waitress takes up to 100.
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
#: Content types.
_TEXT = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"

#: Status, content type, text.
Response = tuple[HTTPStatus, str, str]


class Pages:
    """The WSGI application.

    :param service: the worker
    :param statistics: what it has done
    :param options: how to reach the job servers
    :param hosts: names by which browsers may ask for the pages, besides
        addresses and "localhost"
    """

    def __init__(
        self,
        service: Service,
        statistics: Statistics,
        options: ConnectionOptions,
        hosts: Iterable[str],
    ) -> None:
        self._service = service
        self._statistics = statistics
        self._hosts = {"localhost", *(name.lower() for name in hosts)}
        self._registry = statistics.registry
        self._registry.register(StateCollector(service, statistics, options))
        statistics.start_at_0(service.manager.actions.names())

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
        return self._page(environ["PATH_INFO"])

    def _page(self, path: str) -> Response:
        if path == "/metrics":
            text = generate_latest(self._registry).decode()
            return HTTPStatus.OK, _METRICS, text
        if path not in ("/", "/healthz", "/readyz"):
            text = "there are / /healthz /metrics /readyz\n"
            return HTTPStatus.NOT_FOUND, _TEXT, text
        checks = list(liveness(self._service))
        if path != "/healthz":
            checks += readiness(self._service)
        if path == "/":
            text = render(self._service, self._statistics, checks)
            return HTTPStatus.OK, _HTML, text
        good = all(check.good for check in checks)
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        return status, _TEXT, "".join(f"{check}\n" for check in checks)

    def _is_own_name(self, host: str) -> bool:
        """Whether a Host header names this machine.

        Otherwise it is DNS rebinding: a foreign web page, whose name leads
        here, has a browser ask.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.rstrip(".") in self._hosts
        return True


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
        """Close the oldest connections; called once a second."""
        channels = self.active_channels.values()
        # No page is being made for these.
        idle = [each for each in channels if not each.requests]
        idle.sort(key=lambda channel: channel.creation_time)
        too_many = len(channels) - MAX_CONNECTIONS
        for place, channel in enumerate(idle):
            if place < too_many or channel.creation_time < now - TIMEOUT:
                channel.will_close = True
                # Not only marked: waitress would flush the answer before, and
                # this client may never read it.
                with contextlib.suppress(OSError):
                    channel.socket.shutdown(socket.SHUT_RDWR)


def serve(settings: MonitoringSettings, pages: Pages) -> None:
    """Serve the pages until the process ends.

    If the address cannot be listened on, this is one line in the log: jobs
    matter more.
    """
    host, port = settings.address, settings.port
    shown = f"[{host}]" if ":" in host else host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0]
        LOG.warning(
            "status page and metrics disabled: cannot listen on %s:%d: %s "
            "([monitoring] address, port)",
            shown,
            port,
            one_line(why),
        )
        return
    server = Server(
        pages,
        _sock=sock,
        sockinfo=(sock.family, sock.type, sock.proto, sock.getsockname()),
        bind_socket=False,
        asyncore_use_poll=True,  # select() fails beyond 1,024 open files
        cleanup_interval=1,
        ident=None,
        log_socket_errors=False,
        max_request_body_size=1,
        max_request_header_size=MAX_HEADER,
    )
    # It would warn of many requests and connections; we can serve them.
    logging.getLogger("waitress").setLevel(logging.ERROR)
    port = sock.getsockname()[1]
    LOG.info("status page and metrics on http://%s:%d/", shown, port)
    threading.Thread(
        target=server.run, name="poolmgr-http", daemon=True
    ).start()
