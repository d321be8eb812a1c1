"""Why a request had no answer, in words.

What the system or OpenSSL says is wrapped up many times on its way through
urllib3, requests and keystoneauth.
"""

import re
import socket
import ssl
from collections.abc import Iterator
from http.client import BadStatusLine, IncompleteRead, RemoteDisconnected
from typing import NamedTuple

from requests import exceptions
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NewConnectionError,
)

from poolmgr.text import one_line
from poolmgr.text.secrecy import masked

_LONGEST = 200
# OpenSSL's names for what a server that does not speak TLS looks like.
_NO_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
)
# Of what OpenSSL names, what may pass by itself.
_TRANSIENT = ("INTERNAL_ERROR", "EOF", "BAD_RECORD_MAC", "USER_CANCELLED")
# How an alert begins, or a handshake, when TLS answers a plain request.
_TLS_RECORD = ("\x15\x03", "\x16\x03")
_NO_ADDRESS = (
    exceptions.InvalidURL,
    exceptions.MissingSchema,
    LocationParseError,
)


class Reason(NamedTuple):
    """Why a request had no answer.

    :ivar words: for a person
    :ivar is_mistake: whether waiting does not help
    :ivar is_distrust: whether a certificate was not accepted
    """

    words: str
    is_mistake: bool = False
    is_distrust: bool = False


def reason_of(error: BaseException) -> Reason:
    """Why a request failed, from the exception that it ended with."""
    found = None
    for each in _chain(error):
        reason = _reason(each)
        if reason is not None and reason.is_mistake:
            return reason
        found = reason or found
    return found or Reason(_own_words(error))


def was_sent(error: BaseException) -> bool:
    """Whether a request that ended with this may have been sent."""
    unconnected = (NewConnectionError, ConnectTimeoutError)
    return not any(isinstance(each, unconnected) for each in _chain(error))


def address_of(error: BaseException) -> str:
    """Which address an exception is about, and the proxy on the way."""
    url = re.search(r"https?://[^/\s'\"]+", str(error))
    if url is None:
        return "the cloud"
    where = url[0].rstrip(":.,")
    try:
        proxy = select_proxy(where, get_environ_proxies(where))
    except ValueError:
        proxy = None
    if proxy:
        where += " through the proxy " + re.sub(r"//[^/]*@", "//***@", proxy)
    return one_line(where)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what led to it, or is wrapped up in it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inside = [getattr(error, "reason", None), *error.args]
        wrapped = (e for e in inside if isinstance(e, BaseException))
        error = error.__cause__ or error.__context__ or next(wrapped, None)


def _reason(error: BaseException) -> Reason | None:
    """What one exception of the chain tells, if anything."""
    if isinstance(error, ssl.SSLError):
        return _reason_of_tls(error)
    if isinstance(error, _NO_ADDRESS):
        return Reason(f"this is no address: {_own_words(error)}", True)
    if isinstance(error, exceptions.InvalidSchema):
        return Reason(_own_words(error), True)  # of the address or the proxy
    if isinstance(error, RemoteDisconnected):
        return Reason("it closed the connection without an answer")
    if isinstance(error, BadStatusLine):
        if any(record in str(error) for record in _TLS_RECORD):
            return Reason("it speaks TLS; the address needs https://", True)
        return Reason("what answers there does not speak HTTP", True)
    if isinstance(error, IncompleteRead):
        return Reason("its answer broke off")
    if isinstance(error, TimeoutError):
        return Reason("timed out")
    if isinstance(error, socket.gaierror):
        return Reason(f"its name cannot be resolved ({error.strerror})")
    tunnel = re.match(r"Tunnel connection failed: (\d{3})", str(error))
    if isinstance(error, OSError) and tunnel:
        refused = tunnel[1].startswith("4")
        return Reason(f"the proxy answered {tunnel[1]}", refused)
    said = isinstance(error, OSError) and error.strerror
    return Reason(said) if said else None


def _reason_of_tls(error: ssl.SSLError) -> Reason:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = one_line(error.verify_message, _LONGEST).rstrip(".")
        words = f"its certificate is not accepted: {why}"
        return Reason(words, is_mistake=True, is_distrust=True)
    name = error.reason or ""
    words = f"TLS: {name.lower().replace('_', ' ') or 'it broke off'}"
    if name in _NO_TLS:
        return Reason("what answers there does not speak TLS", True)
    if "CERTIFICATE" in name or "UNKNOWN_CA" in name:
        words = f"it wants another certificate of ours, certfile ({words})"
    passes = not name or any(each in name for each in _TRANSIENT)
    return Reason(words, is_mistake=not passes)


def _own_words(error: BaseException) -> str:
    said = one_line(masked(str(error)), _LONGEST)
    return said or "it failed without a reason"
