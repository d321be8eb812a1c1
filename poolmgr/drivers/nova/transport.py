"""HTTP beneath the SDK: bounds for every answer, whoever asked for it.

requests has a time-out for each read, so an answer that trickles has none; it
unpacks what is packed without a bound, and keystoneauth follows redirects with
token and password to any host.
"""

import functools
import io
import socket
import time
import zlib
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from keystoneauth1.session import TCPKeepAliveAdapter
from requests import PreparedRequest, Response
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util import Timeout

from poolmgr.drivers.nova.failures import NotSent
from poolmgr.drivers.nova.limits import time_left
from poolmgr.errors import CloudRefused, CloudUnavailable
from poolmgr.text import one_line

#: Longest body that is read, in bytes: a page of 1000 servers has 5 MB.
LONGEST_ANSWER = 64 * 1024 * 1024
#: Bytes that are read at once.
_PIECE = 65536
_REDIRECTS = (301, 302, 303, 305, 307, 308)
#: For zlib: the body begins with the header of gzip or of deflate.
_EITHER_HEADER = 32 + zlib.MAX_WBITS


class Transport(TCPKeepAliveAdapter):
    """Sends requests; an answer is there in time, and short, or an error.

    The time-out of the verb that runs bounds head and body together.

    :param size: connections that are kept open
    :param trust_env: whether proxies are taken from the environment; for each
        host once, because that takes as long as a third of a request
    """

    def __init__(self, size: int, trust_env: bool) -> None:
        self._trust_env = trust_env
        self._proxies: dict[str, dict[str, str]] = {}
        super().__init__(pool_maxsize=size)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """See :class:`requests.adapters.HTTPAdapter`."""
        super().init_poolmanager(*args, **kwargs)
        _bound(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """See :class:`requests.adapters.HTTPAdapter`."""
        manager = super().proxy_manager_for(*args, **kwargs)
        _bound(manager)
        return manager

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        """Send a request; the body of the response has been read.

        :raises CloudError: there is no answer in time, or none that can be
            taken
        """
        left = min(time_left(), 600.0)
        if left <= 0:
            raise NotSent(f"{_named(request)}: no time is left")
        request.headers["Accept-Encoding"] = "gzip"
        whole: Any = Timeout(total=left)
        response = super().send(
            request,
            stream=True,
            timeout=whole,
            verify=verify,
            cert=cert,
            proxies={**(proxies or {}), **self._environment(request)},
        )
        # As if requests had read it.
        response._content = _read(request, response)
        response._content_consumed = True
        response.close()
        if response.status_code in _REDIRECTS:
            raise CloudRefused(
                f"{_named(request)} is answered by a redirect "
                f"({response.status_code}), which poolmgr does not follow: "
                "give the address of the service itself (auth_url, or the "
                "endpoint in the cloud's catalog)"
            )
        return response

    def _environment(self, request: PreparedRequest) -> dict[str, str]:
        """The proxies that the environment has for a request."""
        if not self._trust_env:
            return {}
        host = urlsplit(request.url or "").netloc
        if host not in self._proxies:
            self._proxies[host] = get_environ_proxies(request.url or "")
        return self._proxies[host]


def _named(request: PreparedRequest) -> str:
    """A request, without its query."""
    url = (request.url or "").partition("?")[0]
    return one_line(f"{request.method} {url}")


class _Timed(io.RawIOBase):
    """What comes from a socket until a time.

    :param raw: reads from the socket
    :param end: the time, monotonic
    """

    def __init__(
        self, raw: io.RawIOBase, sock: socket.socket, end: float
    ) -> None:
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


class _Bounded:
    """A connection on which the time-out of a read is that of the answer."""

    def response_class(
        self, sock: socket.socket, *args: Any, **kwargs: Any
    ) -> HTTPResponse:
        """Begin to read an answer, to a CONNECT as well."""
        response = HTTPResponse(sock, *args, **kwargs)
        seconds = sock.gettimeout()
        if seconds is not None:
            raw = response.fp.detach()
            timed = _Timed(raw, sock, time.monotonic() + seconds)
            response.fp = io.BufferedReader(timed)
        return response


@functools.cache
def _bounded(pool: type[Any]) -> type[Any]:
    """The same kind of pool, of connections that are bounded."""
    plain = pool.ConnectionCls
    connection = type(plain.__name__, (_Bounded, plain), {})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


def _bound(manager: Any) -> None:
    pools = manager.pool_classes_by_scheme
    if not any(issubclass(p.ConnectionCls, _Bounded) for p in pools.values()):
        manager.pool_classes_by_scheme = {
            scheme: _bounded(pool) for scheme, pool in pools.items()
        }


def _read(request: PreparedRequest, response: Response) -> bytes:
    """The body of an answer, unpacked.

    :raises CloudUnavailable: it is too long, broke off, or is packed in a way
        that nobody asked for
    """
    what = f"the answer to {_named(request)}"
    try:
        packed = _raw(response, what)
    except BaseException as error:
        response.close()
        if isinstance(error, (ReadTimeoutError, TimeoutError)):
            raise CloudUnavailable(f"{what} came too slowly") from error
        if isinstance(error, (HTTPError, HTTPException, OSError)):
            raise CloudUnavailable(f"{what} broke off") from error
        raise
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if not packed or encoding in ("", "identity"):
        return packed
    if encoding not in ("gzip", "x-gzip", "deflate"):
        packing = one_line(encoding, 40)
        raise CloudUnavailable(f"{what} is packed by {packing!r}")
    unpacker = zlib.decompressobj(_EITHER_HEADER)
    try:
        body = unpacker.decompress(packed, LONGEST_ANSWER)
    except zlib.error:
        raise CloudUnavailable(f"{what} cannot be unpacked") from None
    if unpacker.unconsumed_tail:
        raise CloudUnavailable(f"{what} is too long")
    if not unpacker.eof:
        raise CloudUnavailable(f"{what} broke off")
    return body


def _raw(response: Response, what: str) -> bytes:
    pieces: list[bytes] = []
    length = 0
    while piece := response.raw.read(_PIECE, decode_content=False):
        pieces.append(piece)
        length += len(piece)
        if length > LONGEST_ANSWER:
            raise CloudUnavailable(f"{what} is too long")
    return b"".join(pieces)
