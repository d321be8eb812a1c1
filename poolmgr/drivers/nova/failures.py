"""What the failures of calls mean, in poolmgr's own errors.

https://docs.openstack.org/api-guide/compute/faults.html and
https://docs.openstack.org/api-ref/network/v2/#faults say which statuses there
are; what is a quota and what is not, only the texts do.
"""

import json
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

from poolmgr.errors import (
    AuthenticationFailed,
    Changed,
    CloudError,
    CloudRefused,
    CloudUnavailable,
    PoolmgrError,
    QuotaExceeded,
)
from poolmgr.text import one_line

#: Longest text of a cloud that is repeated, in characters.
_LONGEST = 300
#: Longest time that a cloud can have us wait, in seconds.
_LONGEST_WAIT = 300.0

# What no person wrote: a token, or data that we sent and got back.
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_-]{100,}")

_REQUEST_ID = re.compile(r"req-[0-9a-f-]{36}")

NAMES = {"compute": "Nova", "network": "Neutron", "image": "Glance"}
# Neutron's types of errors for a quota, or a network's addresses, used up.
_USED_UP = (
    "OverQuota",
    "IpAddressGenerationFailure",
    "IpAddressGenerationFailureAllSubnets",
    "ExternalIpAddressExhausted",
)
# The same in words: Nova has no types, and repeats what Neutron said.
_SAYS_USED_UP = re.compile(
    r"quota\b.{0,40}\bexceeded|exceeded\b.{0,40}\bquota"
    r"|no (more |fixed |free |available )*ip addresses"
    r"|unable to find any ip address",
    re.I | re.S,
)


class Refused(CloudRefused):
    """The cloud said no.

    :ivar status: the HTTP status
    :ivar kind: Neutron's type of the error, empty elsewhere
    """

    def __init__(self, message: str, status: int, kind: str = "") -> None:
        self.status = status
        self.kind = kind
        super().__init__(message)


class Unavailable(CloudUnavailable):
    """A call failed inside the cloud or on its way.

    Whether it took effect is not known.

    :ivar retry_after: seconds that the cloud wants to be left alone
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class TooMany(Unavailable):
    """The cloud had no room for the call, and did nothing."""


class Busy(Unavailable):
    """What the call is about is in the middle of something."""


class NotAsked(Unavailable):
    """The cloud was not asked, for it does not answer."""


def of_answer(
    call: str,
    service: str,
    status: int,
    headers: Mapping[str, str],
    text: str,
    once: bool,
) -> CloudError:
    """The error that an answer is.

    :param call: what was asked, for the message
    :param once: whether the call creates something
    """
    said, kind = _said(text)
    name = NAMES.get(service, service)
    own = _request_id(headers)
    message = f"{name} answered {status} to {call}: {said or 'no reason'}{own}"
    if _is_used_up(status, said, kind):
        return QuotaExceeded(f"{name}: {said}{own}")
    if status in (413, 429):
        return TooMany(message, _retry_after(headers))
    if status >= 500:
        return Unavailable(message, _retry_after(headers))
    if status == 401:
        return AuthenticationFailed(message)
    if status == 412:
        return Changed(f"somebody else changed it meanwhile: {message}")
    if status == 409 and service == "compute" and not once:
        # The server is in the middle of something; it will not be for long.
        return Busy(message)
    return Refused(message, status, kind)


@contextmanager
def named(call: str) -> Iterator[None]:
    """Turn what the SDK raises in the block into errors of poolmgr."""
    try:
        yield
    except PoolmgrError:
        raise
    except Exception as error:
        mapped = of_exception(call, error)
        if mapped is None:
            raise
        raise mapped from error


def of_exception(call: str, error: Exception) -> CloudError | None:
    """The error for an exception of the SDK or of what it is built on.

    :returns: None when it is neither
    """
    from keystoneauth1 import exceptions as auth
    from openstack.exceptions import SDKException
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    own = _own(error)
    if own is not None:
        return own
    said = _without_data(str(error) or type(error).__name__)
    said = one_line(said, _LONGEST)
    if isinstance(error, auth.SSLError) and _is_verification(error):
        return CloudRefused(f"{call}: {said}")
    if isinstance(error, (auth.Unauthorized, auth.AuthPluginException)):
        return AuthenticationFailed(f"the cloud refuses the login: {said}")
    if isinstance(error, auth.EndpointNotFound):
        return CloudRefused(f"{call}: the catalog has no such service: {said}")
    if isinstance(error, auth.HttpError) and error.http_status in (413, 429):
        headers = error.response.headers if error.response is not None else {}
        return TooMany(f"Keystone is busy: {said}", _retry_after(headers))
    if isinstance(error, auth.HttpError) and error.http_status < 500:
        return AuthenticationFailed(f"the cloud refuses the login: {said}")
    if isinstance(error, (auth.ConnectFailure, auth.DiscoveryFailure)):
        return Unavailable(f"{call}: {_unreachable(error)}")
    known = (auth.ClientException, SDKException, RequestException, HTTPError)
    if isinstance(error, (*known, OSError)):
        return Unavailable(f"{call}: {said}")
    return None


@contextmanager
def understood(call: object) -> Iterator[None]:
    """Turn what an answer of an unexpected form leads to into an error.

    :param call: what was asked, for the message
    """
    try:
        yield
    except PoolmgrError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        said = one_line(f"{type(error).__name__}: {error}", _LONGEST)
        raise Unavailable(
            f"the answer to {call} is not understood: {said}"
        ) from error


def _own(error: BaseException | None) -> CloudError | None:
    """The error of ours that the SDK has wrapped up, if there is one."""
    while error is not None and not isinstance(error, CloudError):
        error = error.__cause__ or error.__context__
    return error


def _unreachable(error: BaseException) -> str:
    """What could not be reached, and why, in a few words."""
    url = re.search(r"https?://[^/\s'\"]+", str(error))
    where = one_line(url[0].rstrip(":.,")) if url else "the cloud"
    return f"cannot reach {where}: {_innermost(error)}"


def _innermost(error: BaseException) -> str:
    """The words of the system, which are wrapped up many times."""
    seen: BaseException | None = error
    words = type(error).__name__
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            words = seen.strerror
        elif isinstance(seen, TimeoutError):
            words = "timed out"
        seen = seen.__cause__ or seen.__context__
    return words


def _is_verification(error: BaseException) -> bool:
    """Whether a certificate was not accepted: waiting does not help."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return True
        seen = seen.__cause__ or seen.__context__
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _is_used_up(status: int, said: str, kind: str) -> bool:
    """Whether a quota or a network's addresses are used up.

    The type of the error and its words say so, with one status or another.
    """
    if kind in _USED_UP:
        return True
    if status in (403, 409):
        return bool(re.search(r"\bquota\b|exceeded", said, re.I))
    # A limit on calls is often called a quota, too.
    return status != 429 and bool(_SAYS_USED_UP.search(said))


def _without_data(text: str) -> str:
    return _LONG_WORD.sub("[...]", text)


def _said(text: str) -> tuple[str, str]:
    """The reason in an answer's body, and Neutron's type of it."""
    text = _without_data(text)
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        # A proxy's page of HTML: its first words will do.
        words = " ".join(re.sub(r"<[^>]*>", " ", text).split())
        return one_line(words, _LONGEST), ""
    if isinstance(body, dict) and len(body) == 1:
        (body,) = body.values()
    if isinstance(body, dict):
        message = str(body.get("message", ""))
        return one_line(message.strip(), _LONGEST), str(body.get("type", ""))
    return one_line(str(body), _LONGEST), ""


def _request_id(headers: Mapping[str, str]) -> str:
    """The service's own name for the call, by which its log tells more."""
    for name in ("X-OpenStack-Request-ID", "X-Compute-Request-ID"):
        if _REQUEST_ID.fullmatch(headers.get(name, "")):
            return f" [{headers[name]}]"
    return ""


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds in a Retry-After header, which may have a date.

    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    value = headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return 0.0
    return max(0.0, min(seconds, _LONGEST_WAIT))
