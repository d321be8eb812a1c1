"""What poolmgr changes in a session of keystoneauth.

It logs in at version 3, and there are bounds for every answer, whoever asked
for it: requests has a time-out for each read, so an answer that trickles has
none; it unpacks what is packed without a bound, and keystoneauth follows
redirects with token and password to any host.
"""

import copy
import importlib.metadata
import io
import logging
import os
import re
import time
from functools import cache, partial
from http.client import HTTPResponse
from typing import Any, cast
from urllib.parse import urljoin

from keystoneauth1.identity import v3
from keystoneauth1.identity.generic.base import BaseGenericPlugin
from keystoneauth1.session import Session, TCPKeepAliveAdapter
from openstack.config.cloud_region import CloudRegion
from openstack.connection import Connection
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.util import Timeout

from poolmgr.drivers.nova.credentials import Origin, unusable
from poolmgr.errors import CloudRefused, CloudUnavailable, ConfigError
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

#: Longest body that is read, in bytes: a page of 1000 servers has 5 MB.
LONGEST_ANSWER = 64 * 1024 * 1024
_REDIRECTS = (301, 302, 303, 305, 307, 308)


def connection_of(session: Session) -> Connection:
    """A connection on a session that somebody else has made."""
    version = importlib.metadata.version("poolmgr")
    return Connection(session=session, app_name="poolmgr", app_version=version)


def keystone_url(url: str, origin: Origin) -> str:
    """Keystone's address, with version 3.

    :raises ConfigError: it is no address
    """
    bare = origin.check_address("auth_url", url)
    newer = with_version(bare, "v3")
    if bare.endswith("/v2.0"):
        LOG.warning(
            "%s is of the Identity API 2.0, which is gone; using %s",
            origin.of("auth_url"),
            one_line(newer),
        )
    return newer


def with_version(url: str, version: str) -> str:
    """A service's address with another version.

    No version document is read: the versions that poolmgr speaks have had
    their addresses for ten years, and such documents are often wrong, or
    hidden.

    :param url: it may end with a version, and then a project
    """
    ending = r"(/v\d+(\.\d+)?(/[^/]*)?)?/*\Z"
    return re.sub(ending, f"/{version}", url, count=1)


def login_of(
    session: Session, region: CloudRegion, origin: Origin
) -> v3.BaseAuth:
    """How a session logs in, at version 3.

    :raises ConfigError: it does in another way, or has a wrong address
    """
    plugin = session.auth
    if not isinstance(plugin, (BaseGenericPlugin, v3.BaseAuth)):
        raise ConfigError(
            f"{origin.of('auth_type')} is not a Keystone v3 login type; "
            "use password, v3applicationcredential or v3token"
        )
    for service in ("compute", "network", "image"):
        if given := region.get_endpoint(service):
            origin.check_address(f"{service}_endpoint_override", str(given))
    url = keystone_url(plugin.auth_url or "", origin)
    if isinstance(plugin, BaseGenericPlugin):
        # It would ask Keystone which versions it has, and wait for itself
        # for ever when that is answered with 401.
        try:
            made = plugin.create_plugin(session, (3, 0), url)
        except Exception as error:
            raise unusable(origin, error) from error
        return cast(v3.BaseAuth, made)
    plugin = copy.copy(plugin)
    plugin.auth_url = url
    return plugin


def bounded(session: Session, size: int) -> Session:
    """A copy of a session that sends its requests by our transport.

    :param size: connections that are kept open
    """
    session = copy.copy(session)
    http = session.session = session._session = copy.copy(session.session)
    http.adapters = copy.copy(http.adapters)
    transport = Transport(size, http.trust_env)
    for prefix, adapter in [*http.adapters.items()]:
        # What somebody has mounted for a purpose of his own stays.
        if type(adapter) in (HTTPAdapter, TCPKeepAliveAdapter):
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
