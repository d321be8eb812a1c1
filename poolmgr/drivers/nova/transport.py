"""The HTTP transport: limits the time and the size of every answer.

requests applies its timeout to each read, so an answer that trickles never
times out, and it reads bodies of any size.
"""

import copy
import io
import time
from functools import cache, partial
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urljoin

import requests
from keystoneauth1.session import Session, TCPKeepAliveAdapter
from requests.adapters import HTTPAdapter
from urllib3.util import Timeout

#: Longest body that is read, in bytes: a page of 1000 servers has 5 MB.
LONGEST_ANSWER = 64 * 1024 * 1024


def limit(session: Session, size: int) -> Session:
    """Return a copy of a session that uses :class:`Transport`.

    The copy follows no redirects: keystoneauth would send token and password
    to any host.

    :param size: number of connections that are kept open
    """
    transport = Transport(size, session.session)
    session = copy.copy(session)
    session.redirect = False
    # keystoneauth closes _session when the session is garbage, so the copy
    # must not have the caller's.
    http = session.session = session._session = copy.copy(session.session)
    http.trust_env = False  # the transport reads the environment
    http.adapters = copy.copy(http.adapters)
    for prefix, adapter in [*http.adapters.items()]:
        # The caller may have an adapter with, for instance, TLS of its own.
        if type(adapter) in (HTTPAdapter, TCPKeepAliveAdapter):
            http.mount(prefix, transport)
    return session


class Transport(TCPKeepAliveAdapter):
    """Sends requests and reads their answers completely.

    The timeout of a request limits the time until its answer has been read.

    :param size: number of connections that are kept open
    :param http: the session whose proxies and certificates are used, merged
        with those of the environment
    """

    def __init__(self, size: int, http: requests.Session) -> None:
        @cache
        def merge(url: str, verify: Any, cert: Any) -> dict[str, Any]:
            return http.merge_environment_settings(url, {}, True, verify, cert)

        # Once for each host: it takes as long as a third of a request.
        self._merge = merge
        super().__init__(pool_maxsize=size)

    def get_connection_with_tls_context(self, *args: Any, **kw: Any) -> Any:
        """See :class:`requests.adapters.HTTPAdapter`."""
        pool: Any = super().get_connection_with_tls_context(*args, **kw)
        # The pool of a host is the same for all of its requests.
        if not isinstance(pool.ConnectionCls, partial):
            pool.ConnectionCls = partial(_connection, pool.ConnectionCls)
        return pool

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """See :class:`requests.adapters.HTTPAdapter`.

        :raises OSError: the answer is too long
        """
        request.headers["Accept-Encoding"] = "identity"
        host = urljoin(request.url or "", "/")
        kwargs |= self._merge(host, kwargs["verify"], kwargs["cert"])
        kwargs["timeout"] = Timeout(total=kwargs["timeout"])
        response = super().send(request, *args, **kwargs)
        body = bytearray()
        try:
            # Not decoded: a short compressed body can be huge.
            while piece := response.raw.read(65536, decode_content=False):
                body += piece
                if len(body) > LONGEST_ANSWER:
                    # An OSError, as one of calls.FAILURES.
                    raise OSError("the answer is too long")
        finally:
            response.close()
        # As requests itself does after reading a body.
        response._content, response._content_consumed = bytes(body), True
        return response


def _connection(kind: Any, *args: Any, **kwargs: Any) -> Any:
    connection = kind(*args, **kwargs)
    connection.response_class = _response
    return connection


def _response(sock: Any, *args: Any, **kwargs: Any) -> HTTPResponse:
    reader: Any = _TimedReader(sock)
    return HTTPResponse(reader, *args, **kwargs)


class _TimedReader(io.RawIOBase):
    """Reads an answer, head and body, until the socket's timeout is over.

    For http.client it is the socket.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        # urllib3 has set it to what is left of the total.
        self._end = time.monotonic() + sock.gettimeout()

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        super().close()
        self._raw.close()
