"""The HTTP server of a worker's pages: status, health and metrics.

It has threads of its own, so it answers while the worker's event loop hangs.
"""

import importlib.metadata
import ipaddress
import logging
import os
import socket
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from prometheus_client import generate_latest
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer

from poolmgr.gearman.endpoint import ConnectionOptions
from poolmgr.monitoring.collector import StateCollector
from poolmgr.monitoring.health import liveness, readiness
from poolmgr.monitoring.statistics import Statistics
from poolmgr.settings import MonitoringSettings
from poolmgr.text import format_duration, one_line
from poolmgr.worker.service import Service

LOG = logging.getLogger(__name__)

#: Number of connections that are kept; waitress itself takes up to 100.
MAX_CONNECTIONS = 32
#: Size limit of a request line and its headers, in bytes.
MAX_HEADER = 8192
#: Seconds that a connection may last.
TIMEOUT = 10.0
#: Headers of all responses.  A page loads nothing but its own style.
_HEADERS = {
    "Allow": "GET, HEAD",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; "
    "style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_TEXT = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
#: Length limit of a value on the page, in characters.
_LONGEST = 500


@dataclass(eq=False)
class Pages:
    """The WSGI application of the pages.

    :ivar service: the worker
    :ivar statistics: its history
    :ivar hosts: host names of requests, in lower case, without a final dot
    """

    service: Service
    statistics: Statistics
    hosts: Collection[str]

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> list[bytes]:
        """Respond to a request."""
        status, content_type, text = self._respond(environ)
        body = text.encode("utf-8", "backslashreplace")
        headers = [
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            *_HEADERS.items(),
        ]
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _respond(self, environ: WSGIEnvironment) -> tuple[str, str, str]:
        """Return status, content type and body."""
        host, path = environ.get("HTTP_HOST"), environ["PATH_INFO"]
        if host is not None and not self._is_own_name(host):
            text = (
                f"not served under the name {one_line(host, 100)!r}: ask by "
                "address, or add the name to [monitoring] hosts\n"
            )
            return "421 Misdirected Request", _TEXT, text
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            text = "only GET and HEAD\n"
            return "405 Method Not Allowed", _TEXT, text
        if path == "/metrics":
            metrics = generate_latest(self.statistics.registry)
            return "200 OK", _METRICS, metrics.decode()
        if path not in ("/", "/healthz", "/readyz"):
            text = "the pages are / /healthz /metrics /readyz\n"
            return "404 Not Found", _TEXT, text
        # Readiness needs liveness: a worker that hangs is not ready either.
        checks = list(liveness(self.service))
        if path != "/healthz":
            checks += readiness(self.service)
        if path == "/":
            text = _ENVIRONMENT.get_template("status.html").render(
                service=self.service,
                statistics=self.statistics,
                checks=checks,
                minutes=self.statistics.last_hour,
                now=time.time(),
            )
            return "200 OK", _HTML, text
        good = all(check.good for check in checks)
        status = "200 OK" if good else "503 Service Unavailable"
        return status, _TEXT, "".join(f"{check}\n" for check in checks)

    def _is_own_name(self, host: str) -> bool:
        """Return whether a Host header names this machine.

        Other names may be DNS rebinding: a foreign web page whose host name
        resolves to this machine.
        """
        with suppress(ValueError):  # no valid host, or no address
            name = urlsplit(f"//{host}").hostname or ""
            # Nobody can make an address resolve to another machine.
            if name.rstrip(".") in self.hosts or ipaddress.ip_address(name):
                return True
        return False


def _finalize(value: object) -> str:
    """Return a value as one line with secrets masked, before Jinja2 escapes
    it."""
    if isinstance(value, Markup):
        return value
    return one_line(str(value), _LONGEST)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


_ENVIRONMENT = Environment(
    loader=PackageLoader("poolmgr.monitoring"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_finalize,
)
_ENVIRONMENT.filters |= {"date": _date, "duration": format_duration}
_ENVIRONMENT.globals |= {
    "host": socket.gethostname(),
    "pid": os.getpid(),
    "version": importlib.metadata.version("poolmgr"),
}


class SingleRequest(HTTPRequestParser):  # type: ignore[misc]
    """A request whose connection is closed after the response.

    Otherwise a client could send many requests and read no responses, which
    waitress would all keep in memory.
    """

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the headers."""
        super().parse_header(header_plus)
        self.headers["CONNECTION"] = "close"


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection for one request."""

    parser_class = SingleRequest


class Server(TcpWSGIServer):  # type: ignore[misc]
    """A waitress server that limits the age and number of connections.

    Waitress itself keeps a connection as long as it receives a byte now and
    then, and accepts no others once it has too many.
    """

    channel_class = Channel

    def maintenance(self, now: float) -> None:
        """Close the oldest connections, before waitress waits for events."""
        channels = self.active_channels.values()
        # The others have a page being rendered.
        idle = [each for each in channels if not each.requests]
        idle.sort(key=lambda channel: channel.creation_time)
        too_many = len(idle) - MAX_CONNECTIONS
        for place, channel in enumerate(idle):
            if place < too_many or channel.creation_time < now - TIMEOUT:
                channel.will_close = True
                # Waitress would send the rest of the response first, which
                # this client may never read.
                with suppress(OSError):
                    channel.socket.shutdown(socket.SHUT_RDWR)


def serve(
    settings: MonitoringSettings,
    service: Service,
    statistics: Statistics,
    options: ConnectionOptions,
) -> None:
    """Serve the pages until the process ends.

    If the address cannot be used, only log a warning: the jobs are more
    important.

    :param service: the worker
    :param statistics: its history
    :param options: how to reach the job servers
    """
    collector = StateCollector(service, statistics, options)
    statistics.registry.register(collector)
    statistics.start_at_0(service.manager.actions.names())
    host = settings.address
    names = "localhost", socket.gethostname(), host, *settings.hosts
    pages = Pages(service, statistics, {n.lower().rstrip(".") for n in names})
    host = f"[{host}]" if ":" in host else host
    # It warns of many requests and connections, which are no problem here.
    logging.getLogger("waitress").setLevel(logging.ERROR)
    try:
        server = _listen(f"{host}:{settings.port}", pages)
    except (OSError, ValueError) as error:
        LOG.warning(
            "status page and metrics disabled: cannot listen on %s:%d: %s "
            "([monitoring] address, port)",
            host,
            settings.port,
            one_line(str(error)),
        )
        return
    port = server.effective_port
    LOG.info("status page and metrics on http://%s:%s/", host, port)
    threading.Thread(
        target=server.run, name="poolmgr-http", daemon=True
    ).start()


def _listen(address: str, pages: Pages) -> Server:
    return Server(
        pages,
        listen=address,
        asyncore_use_poll=True,  # select() fails beyond 1,024 open files
        cleanup_interval=0,  # otherwise, it stops accepting meanwhile
        ident=None,
        log_socket_errors=False,
        max_request_body_size=1,
        max_request_header_size=MAX_HEADER,
    )
