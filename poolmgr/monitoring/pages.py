"""The pages: status, health and metrics of a worker; without JavaScript."""

import importlib.metadata
import ipaddress
import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from prometheus_client import generate_latest

from poolmgr.gearman.endpoint import ConnectionOptions
from poolmgr.monitoring.collector import StateCollector
from poolmgr.monitoring.health import liveness, readiness
from poolmgr.monitoring.statistics import Statistics
from poolmgr.text import format_duration, one_line
from poolmgr.worker.service import Service

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
#: Characters of a value that are shown.
_LONGEST = 500

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
        collector = StateCollector(service, statistics, options)
        statistics.registry.register(collector)
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
        host, path = environ.get("HTTP_HOST"), environ["PATH_INFO"]
        if host is not None and not self._is_own_name(host):
            text = (
                f"not served under the name {one_line(host, 100)!r}: ask by "
                "address, or add the name to [monitoring] hosts\n"
            )
            return HTTPStatus.MISDIRECTED_REQUEST, _TEXT, text
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            text = "only GET and HEAD\n"
            return HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, text
        if path == "/metrics":
            metrics = generate_latest(self._statistics.registry)
            return HTTPStatus.OK, _METRICS, metrics.decode()
        if path not in ("/", "/healthz", "/readyz"):
            text = "there are / /healthz /metrics /readyz\n"
            return HTTPStatus.NOT_FOUND, _TEXT, text
        checks = list(liveness(self._service))
        if path != "/healthz":
            checks += readiness(self._service)
        if path == "/":
            text = _ENVIRONMENT.get_template("status.html").render(
                service=self._service,
                statistics=self._statistics,
                checks=checks,
                minutes=self._statistics.last_hour,
                now=time.time(),
            )
            return HTTPStatus.OK, _HTML, text
        good = all(check.good for check in checks)
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        return status, _TEXT, "".join(f"{check}\n" for check in checks)

    def _is_own_name(self, host: str) -> bool:
        """Whether a Host header names this machine.

        Otherwise it is DNS rebinding: a foreign web page, whose name leads
        here, has a browser ask.
        """
        with suppress(ValueError):  # it is no host, or no address
            name = urlsplit(f"//{host}").hostname or ""
            if name.rstrip(".") in self._hosts or ipaddress.ip_address(name):
                return True
        return False


def _finalize(value: object) -> str:
    """A value as one line, with secrets masked; Jinja2 escapes it after."""
    if isinstance(value, Markup):
        return value
    return one_line(str(value), _LONGEST)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _duration(seconds: float) -> str:
    return format_duration(max(0, int(seconds)))


_ENVIRONMENT = Environment(
    loader=PackageLoader("poolmgr.monitoring"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_finalize,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"date": _date, "duration": _duration}
_ENVIRONMENT.globals |= {
    "host": socket.gethostname(),
    "pid": os.getpid(),
    "version": importlib.metadata.version("poolmgr"),
}
