"""Serves a worker's pages for as long as it works."""

import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from poolmgr.monitoring.http import HttpServer
from poolmgr.monitoring.site import Site
from poolmgr.settings import MonitoringSettings
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

#: Connections that wait to be accepted.
_BACKLOG = 32


@contextmanager
def serving(settings: MonitoringSettings, site: Site) -> Iterator[None]:
    """Serve the pages while the block runs.

    Whatever prevents it is one line in the log: jobs matter more.
    """
    sock = _listening(settings)
    if sock is None:
        yield
        return
    hosts = [socket.gethostname(), *settings.hosts]
    server = HttpServer(sock, site.answer, hosts)
    LOG.info("status page and metrics on %s", _url(sock))
    server.start()
    try:
        yield
    finally:
        server.close()


def _listening(settings: MonitoringSettings) -> socket.socket | None:
    address = settings.address
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    where = (address, settings.port)
    try:
        return socket.create_server(where, family=family, backlog=_BACKLOG)
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
    return (
        f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
    )
