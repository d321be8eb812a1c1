"""HTTP beneath the SDK: bounds for every answer, whoever asked for it.

requests has a time-out for each read, so an answer that trickles has none; it
unpacks what is packed without a bound, and keystoneauth follows redirects with
token and password to any host.
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

from poolmgr.errors import CloudRefused, CloudUnavailable

#: Longest body that is read, in bytes: a page of 1000 servers has 5 MB.
LONGEST_ANSWER = 64 * 1024 * 1024
_REDIRECTS = (301, 302, 303, 305, 307, 308)


def bounded(session: Session, size: int) -> Session:
    """A copy of a session that sends its requests by our transport.

    :param size: connections that are kept open
    """
    session = copy.copy(session)
    http = session.session = session._session = copy.copy(session.session)
    http.adapters = copy.copy(http.adapters)
    transport = Transport(size, http.trust_env)
    for prefix in ("http://", "https://"):
        http.mount(prefix, transport)
    if http.trust_env and session.verify is True:
        for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            session.verify = os.environ.get(name) or session.verify
    # What is in the environment was read now, and is not for each request.
    http.trust_env = False
    return session


class Transport(TCPKeepAliveAdapter):
    """Sends requests; an answer is there in time, and short, or an error.

    The time-out of a request bounds head and body together.

    :param size: connections that are kept open
    :param trust_env: whether proxies are taken from the environment; for each
        host once, because that takes as long as a third of a request
    """

    def __init__(self, size: int, trust_env: bool) -> None:
        self._proxies = cache(get_environ_proxies) if trust_env else None
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
        """Send a request; the body of the response has been read.

        :raises CloudError: the answer cannot be taken
        """
        url = request.url or ""
        request.headers["Accept-Encoding"] = "identity"
        if self._proxies:
            proxies = self._proxies(urljoin(url, "/"))
            kwargs["proxies"] = {**(kwargs.get("proxies") or {}), **proxies}
        kwargs["timeout"] = Timeout(total=kwargs["timeout"])
        kwargs["stream"] = True
        response = super().send(request, *args, **kwargs)
        what = f"the answer to {request.method} {url.partition('?')[0]}"
        # As if requests had read it.
        response._content = _body(response, what)
        response._content_consumed = True
        if response.headers.get("Content-Encoding", "identity") != "identity":
            # Unpacked it may be a thousand times as long.
            raise CloudUnavailable(
                f"{what} is compressed; poolmgr asks for plain"
            )
        if response.status_code in _REDIRECTS:
            raise CloudRefused(
                f"{what} is a redirect ({response.status_code}), which "
                "poolmgr does not follow: give the address of the service "
                "itself (auth_url, or the endpoint in the cloud's catalog)"
            )
        return response


def _body(response: Response, what: str) -> bytes:
    body = bytearray()
    try:
        while piece := response.raw.read(65536, decode_content=False):
            body += piece
            if len(body) > LONGEST_ANSWER:
                raise CloudUnavailable(f"{what} is too long")
    finally:
        response.close()
    return bytes(body)


def _connection(kind: Any, *args: Any, **kwargs: Any) -> Any:
    connection = kind(*args, **kwargs)
    connection.response_class = _Answer
    return connection


class _Answer(HTTPResponse):
    """An answer, to a CONNECT as well, that is read until its time is over."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        if seconds := sock.gettimeout():
            end = time.monotonic() + seconds
            self.fp = io.BufferedReader(_Bytes(self.fp.detach(), sock, end))


class _Bytes(io.RawIOBase):
    """What comes from a socket until a time.

    :param raw: reads from the socket
    :param end: the time, monotonic
    """

    def __init__(self, raw: io.RawIOBase, sock: Any, end: float) -> None:
        self._raw = raw
        self._sock = sock
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        super().close()
        self._raw.close()
