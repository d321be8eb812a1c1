"""A call of a service of the cloud, and what its failure means.

https://docs.openstack.org/api-guide/compute/faults.html and
https://docs.openstack.org/api-ref/network/v2/#faults say which statuses there
are; what is a quota and what is not, only the texts do.
"""

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from http.client import BadStatusLine
from typing import Any, Literal

import msgspec
from keystoneauth1 import exceptions as auth
from requests import RequestException, Response
from urllib3 import exceptions as http

from poolmgr import errors
from poolmgr.text import one_line
from poolmgr.text.secrecy import masked

Service = Literal["identity", "compute", "network", "image"]

#: Longest text of a cloud that is repeated, in characters.
_LONGEST = 300
#: Longest time that a cloud can have us wait, in seconds.
_LONGEST_WAIT = 300.0
#: What a request that is not answered raises, and what our transport does.
FAILURES = (auth.ClientException, http.HTTPError, OSError, errors.CloudError)

_NO_LOGIN = (auth.AuthPluginException, auth.AuthorizationFailure)
# What no person wrote: a token, or data that we sent and got back.
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_-]{100,}")
_REQUEST_ID = re.compile(r"req-[0-9a-f-]{36}")
_NAMES: dict[Service, str] = {
    "identity": "Keystone",
    "compute": "Nova",
    "network": "Neutron",
    "image": "Glance",
}
# A quota, or a network's addresses, used up: by Neutron's types of errors and
# in words, for Nova has no types, and repeats what Neutron said.
_USED_UP = (
    r"OverQuota|IpAddressGenerationFailure|ExternalIpAddressExhausted"
    r"|quota\b.{0,40}\bexceeded|exceeded\b.{0,40}\bquota"
    r"|\bover (a|the|its) (quota|limit)\b"
    r"|\b(no|zero) (more |fixed |floating |free |available )*"
    r"(ip addresses|ips\b)"
    r"|\b(ips|ip addresses) .{0,20}\bexhausted"
    r"|unable to find any ip address"
)
# Of OpenSSL's reasons, those that may pass by themselves.
_PASSING = ("INTERNAL_ERROR", "EOF", "BAD_RECORD_MAC", "USER_CANCELLED")


class Call(msgspec.Struct, frozen=True):
    """A call of a service.

    :ivar expects: the field that the answer has to have: what stands between
        us and the cloud may answer 200 and mean nothing
    :ivar creates: whether it creates something, so that it must not be
        repeated when nobody knows if it took effect
    """

    method: str
    service: Service
    path: str
    params: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    expects: str = ""
    creates: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def failed(
        self, why: str, retry_after: float = 0.0
    ) -> errors.CloudUnavailable:
        """The error of a request that was sent, and not answered well."""
        if self.creates:
            return errors.OutcomeUnknown(why, retry_after)
        return errors.CloudUnavailable(why, retry_after)


class Refused(errors.CloudRefused):
    """The cloud said no.

    :ivar status: the HTTP status
    :ivar kind: Neutron's type of the error, empty elsewhere
    """

    def __init__(self, message: str, status: int, kind: str = "") -> None:
        self.status = status
        self.kind = kind
        super().__init__(message)


def error_of_answer(
    call: Call, answer: Response, where: str = ""
) -> errors.CloudError:
    """The error that an answer is.

    :param where: where it comes from, if that may be wrong
    """
    status, headers = answer.status_code, answer.headers
    said, kind = _reason_in(answer.content.decode("utf-8", "replace"))
    name, own = _NAMES[call.service], _request_id(headers)
    what = f"{call} at {where}" if where else str(call)
    message = f"{name} answered {status} to {what}: {said or 'no reason'}{own}"
    if _is_used_up(status, f"{kind} {said}"):
        return errors.QuotaExceeded(f"{name}: {said}{own}")
    if status in (413, 429):
        return errors.Busy(message, _retry_after(headers))
    if status >= 500:
        return call.failed(message, _retry_after(headers))
    if status == 401:
        return errors.AuthenticationFailed(message)
    if status == 412:
        return errors.Changed(f"somebody else changed it meanwhile: {message}")
    if status == 409 and call.service == "compute" and not call.creates:
        # The server is in the middle of something; it will not be for long.
        return errors.Busy(message)
    return Refused(message, status, kind)


def error_of(
    call: Call, error: BaseException, url: str, tls: str
) -> errors.CloudError:
    """The error that one of :data:`FAILURES` is.

    :param url: where the call went
    :param tls: the settings that decide about certificates
    """
    if isinstance(error, errors.CloudUnavailable):
        return call.failed(str(error))
    if isinstance(error, errors.CloudError):
        return error
    if isinstance(error, auth.InvalidResponse):
        what = f"{call}: the server at {one_line(url)} is not Keystone"
        return errors.CloudUnavailable(what)
    if isinstance(error, auth.HttpError) and error.response is not None:
        return error_of_answer(call, error.response, url)
    if isinstance(error, _NO_LOGIN):
        return errors.AuthenticationFailed(_foreign(str(error)))
    return _error_of_connection(call, [*_chain(error)], url, tls)


def _is_used_up(status: int, said: str) -> bool:
    """Whether a quota or a network's addresses are used up."""
    if status in (403, 409) and re.search(r"\bquota\b|exceeded", said, re.I):
        return True
    # A limit on calls is often called a quota, too.
    return status != 429 and bool(re.search(_USED_UP, said, re.I | re.S))


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


def _foreign(text: str) -> str:
    """What somebody else says, on one line that is not too long."""
    return one_line(masked(_LONG_WORD.sub("[...]", text)), _LONGEST)


def _request_id(headers: Mapping[str, str]) -> str:
    """The service's own name for the call, by which its log tells more."""
    name = headers.get("X-OpenStack-Request-ID", "")
    return f" [{name}]" if _REQUEST_ID.fullmatch(name) else ""


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the cloud wants to be left alone."""
    value = headers.get("Retry-After", "")
    seconds = float(value) if re.fullmatch(r"\d{1,9}(\.\d+)?", value) else 0.0
    return min(seconds, _LONGEST_WAIT)


# -- no answers ---------------------------------------------------------------


def _error_of_connection(
    call: Call, chain: list[BaseException], url: str, tls: str
) -> errors.CloudError:
    """The error of a request that was not answered.

    :param chain: why, the innermost reason last
    """
    where = one_line(re.sub(r"(?<=[^/:])/.*", "", url))
    if any(isinstance(each, http.ProxyError) for each in chain):
        where += " through the proxy of the environment"
    for each in reversed(chain):
        if mistake := _mistake(each, tls):
            return errors.CloudRefused(
                f"{call}: cannot use {where}: {mistake}"
            )
    words = getattr(chain[-1], "strerror", None) or str(chain[-1])
    why = _foreign(words) or "it failed without a reason"
    text = f"{call}: cannot reach {where}: {why}"
    unconnected = (http.NewConnectionError, http.ConnectTimeoutError)
    if any(isinstance(each, unconnected) for each in chain):
        return errors.CloudUnavailable(text)
    return call.failed(text)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what led to it.

    What the system or OpenSSL says is wrapped up many times on its way
    through urllib3, requests and keystoneauth.
    """
    while error is not None:
        yield error
        hidden = error.__suppress_context__
        error = error.__cause__ or (None if hidden else error.__context__)


def _mistake(error: BaseException, tls: str) -> str:
    """What is wrong that no waiting mends; empty if it may pass."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = one_line(error.verify_message).rstrip(".")
        return f"its certificate is refused: {why}; check {tls}"
    if isinstance(error, (ssl.SSLError, http.SSLError)):
        reason = getattr(error, "reason", None) or str(error)
        if any(name in reason for name in _PASSING):
            return ""
        why = _foreign(reason.lower().replace("_", " "))
        return f"TLS: {why}; check its address and {tls}"
    if type(error) is OSError and "invalid path" in str(error):
        # requests says so of a file of certificates, or a key.
        return f"{_foreign(str(error))}; check {tls}"
    if isinstance(error, ValueError) and isinstance(error, RequestException):
        # The address is none.
        return _foreign(str(error))
    if type(error) is BadStatusLine:
        return "not an HTTP server; check the address"
    return ""
