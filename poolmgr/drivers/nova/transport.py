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
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from keystoneauth1.session import TCPKeepAliveAdapter
from requests import exceptions
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util import Timeout

from poolmgr.drivers.nova.failures import Unavailable
from poolmgr.drivers.nova.watchdog import END
from poolmgr.errors import CloudError, CloudRefused
from poolmgr.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import PreparedRequest, Response

#: Longest body that is read, in bytes: a page of 1000 servers has 5 MB.
LONGEST_ANSWER = 64 * 1024 * 1024
#: Seconds that a request may take where nobody has said how long.
_LONGEST = 600.0
#: Bytes that are read at once.
_PIECE = 65536
_REDIRECTS = (301, 302, 303, 305, 307, 308)
#: Redirects that are followed, at most.
_MOST_REDIRECTS = 3
#: Headers that a redirect must not take along.
_SECRETS = ("Authorization", "X-Auth-Token", "X-Subject-Token")
#: For zlib: the body begins with the header of gzip or of deflate.
_EITHER_HEADER = 32 + zlib.MAX_WBITS


class Transport(TCPKeepAliveAdapter):
    """Sends requests; an answer is there in time, and short, or an error.

    The time-out of a request is for the whole answer, head and body.

    :param size: connections that are kept open
    """

    def __init__(self, size: int) -> None:
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
        request: "PreparedRequest",
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> "Response":
        """Send a request; the body of the response has been read.

        :raises requests.exceptions.RequestException: there is no answer in
            time, or none that can be taken; its cause is poolmgr's own error
        """
        send = functools.partial(
            super().send,
            stream=True,
            verify=verify,
            cert=cert,
            proxies=proxies,
        )
        try:
            return self._answer(send, request, _end(timeout))
        except CloudError as error:
            # What the SDK expects; who calls the SDK finds the cause.
            raise exceptions.ConnectionError(error, request=request) from error

    def _answer(
        self,
        send: "Callable[..., Response]",
        request: "PreparedRequest",
        end: float,
    ) -> "Response":
        """The answer to a request, or to what that is redirected to.

        :param end: when it has to be there, monotonic
        :raises CloudError: it cannot be taken
        """
        for _redirect in range(_MOST_REDIRECTS + 1):
            request.headers["Accept-Encoding"] = "gzip"
            left = end - time.monotonic()
            if left <= 0:
                raise Unavailable(f"{_named(request)}: no time is left")
            response = send(request, timeout=Timeout(total=left))
            # As if requests had read it.
            response._content = _read(request, response)
            response._content_consumed = True
            response.close()
            if response.status_code not in _REDIRECTS:
                return response
            request = _redirected(request, response)
        raise CloudRefused(f"{_named(request)} is redirected without end")


def _redirected(
    request: "PreparedRequest", response: "Response"
) -> "PreparedRequest":
    """What is asked next, where a redirect can be followed.

    Nova redirects who asks for its versions without a slash at the end.

    :raises CloudRefused: it would take a secret along, or leads elsewhere
    """
    url = request.url or ""
    target = urljoin(url, response.headers.get("Location", ""))
    secret = request.body or any(name in request.headers for name in _SECRETS)
    if request.method != "GET" or secret or not _is_beside(target, url):
        raise CloudRefused(
            f"{_named(request)} is answered by a redirect "
            f"({response.status_code}), which poolmgr does not follow: give "
            "the address of the service itself (auth_url, or the endpoint in "
            "the cloud's catalog)"
        )
    followed = request.copy()
    followed.url = target
    return followed


def _is_beside(url: str, other: str) -> bool:
    """Whether two addresses are of one server."""
    try:
        one, two = urlsplit(url), urlsplit(other)
        return (one.scheme, one.hostname, one.port) == (
            two.scheme,
            two.hostname,
            two.port,
        )
    except ValueError:
        return False


def _named(request: "PreparedRequest") -> str:
    """A request, without what is asked for."""
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

    def fileno(self) -> int:
        return self._raw.fileno()

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


def _end(timeout: Any) -> float:
    """When a request has to be over, monotonic."""
    end = END.get(float("inf"))
    if isinstance(timeout, (int, float)):
        end = min(end, time.monotonic() + timeout)
    # urllib3 takes no time-out that has no end.
    return min(end, time.monotonic() + _LONGEST)


def _read(request: "PreparedRequest", response: "Response") -> bytes:
    """The body of an answer, unpacked.

    :raises Unavailable: it is too long, broke off, or is packed in a way that
        nobody asked for
    """
    what = f"the answer to {_named(request)}"
    try:
        packed = _raw(response, what)
    except BaseException as error:
        response.close()
        if isinstance(error, (ReadTimeoutError, TimeoutError)):
            raise Unavailable(f"{what} came too slowly") from error
        if isinstance(error, (HTTPError, HTTPException, OSError)):
            raise Unavailable(f"{what} broke off") from error
        raise
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if not packed or encoding in ("", "identity"):
        return packed
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Unavailable(f"{what} is packed by {one_line(encoding, 40)!r}")
    unpacker = zlib.decompressobj(_EITHER_HEADER)
    try:
        body = unpacker.decompress(packed, LONGEST_ANSWER)
    except zlib.error:
        raise Unavailable(f"{what} cannot be unpacked") from None
    if unpacker.unconsumed_tail:
        raise Unavailable(f"{what} is too long")
    if not unpacker.eof:
        raise Unavailable(f"{what} broke off")
    return body


def _raw(response: "Response", what: str) -> bytes:
    pieces: list[bytes] = []
    length = 0
    raw = response.raw
    # With urllib3 before 2.2 only http.client beneath it reads what is there.
    source = raw if hasattr(raw, "read1") else raw._fp
    while piece := source.read1(_PIECE):
        pieces.append(piece)
        length += len(piece)
        if length > LONGEST_ANSWER:
            raise Unavailable(f"{what} is too long")
    announced = response.headers.get("Content-Length", "")
    if announced.isdigit() and length < int(announced) and not raw.chunked:
        raise Unavailable(f"{what} broke off")
    if source is not raw:
        source.close()  # it does not notice that it is at its end
        raw.release_conn()
    return b"".join(pieces)
