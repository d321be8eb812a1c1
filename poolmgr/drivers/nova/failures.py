"""What the failures of calls mean, in poolmgr's own errors.

https://docs.openstack.org/api-guide/compute/faults.html and
https://docs.openstack.org/api-ref/network/v2/#faults say which statuses there
are; what is a quota and what is not, only the texts do.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

from keystoneauth1 import exceptions as auth
from openstack.exceptions import SDKException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from poolmgr.drivers.nova.entries import MISREAD
from poolmgr.drivers.nova.reasons import address_of, reason_of, was_sent
from poolmgr.errors import (
    AuthenticationFailed,
    Busy,
    Changed,
    CloudError,
    CloudRefused,
    CloudUnavailable,
    OutcomeUnknown,
    PoolmgrError,
    QuotaExceeded,
)
from poolmgr.text import one_line
from poolmgr.text.secrecy import masked

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
    r"|\bover (a|the|its) (quota|limit)\b"
    r"|\b(no|zero) (more |fixed |floating |free |available )*"
    r"(ip addresses|ips\b)"
    r"|\b(ips|ip addresses) .{0,20}\bexhausted"
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


class NotSent(CloudUnavailable):
    """The request was not even sent, so it certainly had no effect."""


def error_of_answer(
    call: str,
    service: str,
    status: int,
    headers: Mapping[str, str],
    text: str,
    creates: bool,
) -> CloudError:
    """The error that an answer is.

    :param call: what was asked, for the message
    :param creates: whether the call creates something
    """
    said, kind = _reason_in(text)
    name = NAMES.get(service, service)
    own = _request_id(headers)
    message = f"{name} answered {status} to {call}: {said or 'no reason'}{own}"
    if _is_used_up(status, said, kind):
        return QuotaExceeded(f"{name}: {said}{own}")
    if status in (413, 429):
        return Busy(message, _retry_after(headers))
    if status >= 500:
        return CloudUnavailable(message, _retry_after(headers))
    if status == 401:
        return AuthenticationFailed(message)
    if status == 412:
        return Changed(f"somebody else changed it meanwhile: {message}")
    if status == 409 and service == "compute" and not creates:
        # The server is in the middle of something; it will not be for long.
        return Busy(message)
    return Refused(message, status, kind)


@contextmanager
def translated(call: str, trust: str = "") -> Iterator[None]:
    """Turn what the SDK raises in the block into errors of poolmgr.

    :param call: what is asked
    :param trust: what to say when a certificate is not accepted
    """
    try:
        yield
    except PoolmgrError:
        raise
    except Exception as error:
        mapped = error_of_exception(call, error, trust)
        if mapped is None:
            raise
        raise mapped from error


def error_of_exception(
    call: str, error: Exception, trust: str = ""
) -> CloudError | None:
    """The error for an exception of the SDK or of what it is built on.

    :returns: None when it is neither
    """
    if isinstance(error, auth.HttpError):
        return _of_login(call, error)
    said = _foreign(str(error)) or "the SDK gives no reason"
    if isinstance(
        error, (auth.AuthPluginException, auth.AuthorizationFailure)
    ):
        return AuthenticationFailed(f"cannot log in: {said}")
    if isinstance(error, auth.InvalidResponse):
        where = one_line(str(error.response.url))
        what = f"{call}: what answers at {where} is no Keystone"
        return CloudUnavailable(what)
    known = (auth.ClientException, SDKException, RequestException, HTTPError)
    if not isinstance(error, (*known, OSError)):
        return None
    reason, where = reason_of(error), address_of(error)
    if reason.is_mistake:
        advice = f"; {trust}" if reason.is_distrust and trust else ""
        return CloudRefused(
            f"{call}: cannot use {where}: {reason.words}{advice}"
        )
    kind = CloudUnavailable if was_sent(error) else NotSent
    return kind(f"{call}: cannot reach {where}: {reason.words}")


def _of_login(call: str, error: auth.HttpError) -> CloudError:
    """The error for an answer of Keystone's."""
    status, response = error.http_status, error.response
    said = _foreign(str(error))
    where = one_line(str(getattr(response, "url", None) or "Keystone"))
    if status >= 500 or status in (413, 429):
        kind = CloudUnavailable if status >= 500 else Busy
        headers = {} if response is None else response.headers
        message = f"{call}: {where} answered: {said}"
        return kind(message, _retry_after(headers))
    if status == 407:
        return CloudRefused(f"{call}: the proxy to {where} wants a login")
    if status in (404, 405, 410):
        return AuthenticationFailed(
            f"there is no Keystone at {where}, it answered {status}; correct "
            "auth_url"
        )
    return AuthenticationFailed(
        f"the cloud refuses the login: {said}; it was sent to {where}"
    )


@contextmanager
def understood(call: object, creates: bool = False) -> Iterator[None]:
    """Turn what an answer of an unexpected form leads to into an error.

    :param call: what was asked, for the message
    :param creates: whether something was created by it
    """
    try:
        yield
    except PoolmgrError:
        raise
    except MISREAD as error:
        said = "a part of it has another form than documented"
        if isinstance(error, KeyError):
            said = f"it has no {_foreign(str(error))}"
        kind = OutcomeUnknown if creates else CloudUnavailable
        what = f"the answer to {call} is not understood: {said}"
        raise kind(what) from error


def _foreign(text: str) -> str:
    """What somebody else says, on one line that is not too long."""
    return one_line(masked(_without_data(text)), _LONGEST)


def _is_used_up(status: int, said: str, kind: str) -> bool:
    """Whether a quota or a network's addresses are used up.

    The type of the error and its words say so, with one status or another.
    """
    if kind in _USED_UP:
        return True
    if status in (403, 409) and re.search(r"\bquota\b|exceeded", said, re.I):
        return True
    # A limit on calls is often called a quota, too.
    return status != 429 and bool(_SAYS_USED_UP.search(said))


def _without_data(text: str) -> str:
    return _LONG_WORD.sub("[...]", text)


def _reason_in(text: str) -> tuple[str, str]:
    """The reason in an answer's body, and Neutron's type of it."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        # A proxy's page of HTML: its first words will do.
        words = " ".join(re.sub(r"<[^>]*>", " ", text).split())
        return _foreign(words), ""
    if isinstance(body, dict) and len(body) == 1:
        (body,) = body.values()
    if isinstance(body, dict):
        message = str(body.get("message", ""))
        return _foreign(message.strip()), str(body.get("type", ""))
    return _foreign(str(body)), ""


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
