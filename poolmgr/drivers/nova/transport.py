"""The HTTP transport: limits the time and the size of every answer.

requests applies its timeout to each read, so an answer that trickles never
times out, and it reads bodies of any size.
"""

import copy
import io
import os
import time
from functools import cache, partial
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urljoin

from keystoneauth1.session import Session, TCPKeepAliveAdapter
from requests import PreparedRequest, Response
from requests.utils import get_environ_proxies
from urllib3.util import Timeout

#: Longest body that is read, in bytes: a page of 1000 servers has 5 MB.
LONGEST_ANSWER = 64 * 1024 * 1024


def limit(session: Session, size: int) -> Session:
    """Return a copy of a session that uses :class:`Transport`.

    The copy follows no redirects: keystoneauth would send token and password
    to any host.

    :param size: number of connections that are kept open
    """
    session = copy.copy(session)
    session.redirect = False
    http = session.session = session._session = copy.copy(session.session)
    http.adapters = copy.copy(http.adapters)
    transport = Transport(size, http.trust_env)
    for prefix in ("http://", "https://"):
        http.mount(prefix, transport)
    if http.trust_env and session.verify is True:
        for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            session.verify = os.environ.get(name) or session.verify
    # requests would read the environment again for each request, which takes
    # as long as a third of the request.
    http.trust_env = False
    return session


class Transport(TCPKeepAliveAdapter):
    """Sends requests and reads their answers completely.

    The timeout of a request limits the time until its answer has been read.

    :param size: number of connections that are kept open
    :param trust_env: whether the environment names proxies
    """

    def __init__(self, size: int, trust_env: bool) -> None:
        self._proxies_of = cache(get_environ_proxies) if trust_env else None
        super().__init__(pool_maxsize=size)

    def get_connection_with_tls_context(self, *args: Any, **kw: Any) -> Any:
        """See :class:`requests.adapters.HTTPAdapter`."""
        pool: Any = super().get_connection_with_tls_context(*args, **kw)
        if not isinstance(pool.ConnectionCls, partial):
            pool.ConnectionCls = partial(_connection, pool.ConnectionCls)
        return pool

    def send(
        self, request: PreparedRequest, *args: Any, **kwargs: Any
    ) -> Response:
        """See :class:`requests.adapters.HTTPAdapter`.

        :raises OSError: the answer is too long
        """
        request.headers["Accept-Encoding"] = "identity"
        if self._proxies_of:
            proxies = self._proxies_of(urljoin(request.url or "", "/"))
            kwargs["proxies"] = {**(kwargs.get("proxies") or {}), **proxies}
        kwargs["timeout"] = Timeout(total=kwargs["timeout"])
        kwargs["stream"] = True
        response = super().send(request, *args, **kwargs)
        body = bytearray()
        try:
            # Not decoded: a short compressed body can be huge.
            while piece := response.raw.read(65536, decode_content=False):
                body += piece
                if len(body) > LONGEST_ANSWER:
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
