"""The HTTP server of the pages, on threads of its own.

It answers when the worker's event loop hangs.
"""

import contextlib
import logging
import socket
import threading

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer

from poolmgr.monitoring.pages import Pages
from poolmgr.settings import MonitoringSettings
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

#: Connections beyond which the oldest are closed; waitress takes up to 100.
MAX_CONNECTIONS = 32
#: Longest request line and headers, in bytes; a request may have no body.
MAX_HEADER = 8192
#: Seconds that a connection may last.
TIMEOUT = 10.0


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
