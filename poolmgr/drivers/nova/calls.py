"""Calls of a service, and the errors for calls that fail.

https://docs.openstack.org/api-guide/compute/faults.html and
https://docs.openstack.org/api-ref/network/v2/#faults list the statuses. Only
the text of an answer tells whether a quota is used up.
"""

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from urllib.parse import quote, urljoin

import msgspec
from keystoneauth1 import exceptions as auth
from requests import Response
from urllib3 import exceptions as http

from poolmgr import errors
from poolmgr.text import one_line
from poolmgr.text.secrecy import masked

ServiceType = Literal["identity", "compute", "network", "image"]

#: Longest text of a cloud that is repeated, in characters.
_LONGEST = 300
#: Longest body of an error that is read, in bytes.
_LONGEST_BODY = 65536
#: Longest pause that a cloud can ask for, in seconds.
_LONGEST_PAUSE = 300.0
#: The exceptions of a request without an answer, or of a failed login.
FAILURES = (auth.ClientException, http.HTTPError, OSError)

# Most ids are UUIDs; names of key pairs may have blanks and "@".
_SEGMENT = re.compile(r"(?!\.+\Z)[A-Za-z0-9_@. -]{1,255}")
_NO_LOGIN = (auth.AuthPluginException, auth.AuthorizationFailure)
# A token, or data that poolmgr sent and the cloud repeats.
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_-]{100,}")
_NAMES: dict[ServiceType, str] = {
    "identity": "Keystone",
    "compute": "Nova",
    "network": "Neutron",
    "image": "Glance",
}
# A quota or a network's addresses are used up: Neutron's types of errors, and
# words, for Nova has no types and repeats Neutron's messages.
_USED_UP = re.compile(
    r"OverQuota|IpAddressGenerationFailure|ExternalIpAddressExhausted"
    r"|quota\b.{0,40}\bexceeded|exceeded\b.{0,40}\bquota"
    r"|\bmaximum number of .{0,40}\bexceeded"
    r"|\bover (a|the|its) (quota|limit)\b"
    r"|\b(no|zero) (more |fixed |floating |free |available )*"
    r"(ip addresses|ips\b)"
    r"|\b(ips|ip addresses) .{0,20}\bexhausted"
    r"|unable to find any ip address",
    re.I | re.S,
)
# Of OpenSSL's reasons, those of a server that is overloaded or was stopped,
# and of data that was damaged on its way.
_MAY_PASS = ("EOF", "BAD_RECORD_MAC", "INTERNAL_ERROR")


class ApiCall(msgspec.Struct, frozen=True):
    """A call of a service.

    :ivar expects: the field that the answer must have; a proxy may answer
        200 with something else
    """

    method: str
    service: ServiceType
    path: str
    params: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    expects: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def creates(self) -> bool:
        """Whether the call creates a resource, as a POST to a list does.

        It must not be repeated when its outcome is unknown.
        """
        return self.method == "POST" and self.path.count("/") == 1

    def failed(
        self, why: str, retry_after: float = 0.0
    ) -> errors.CloudUnavailable:
        """Return the error for a request that may have taken effect."""
        if self.creates:
            return errors.OutcomeUnknown(why, retry_after)
        return errors.CloudUnavailable(why, retry_after)


def path_of(collection: str, which: str, *rest: str) -> str:
    """Return the path of a resource, or of a part of it.

    Ids come from the cloud, names from the configuration. One with ``..`` in
    it could lead to another resource, even if it is quoted: servers between
    here and the cloud may undo that.

    :param collection: such as "/servers"
    :param which: the resource's id or name
    :raises CloudRefused: the id or name is not valid
    """
    if not _SEGMENT.fullmatch(which):
        raise errors.CloudRefused(
            f"{collection}/{one_line(which, 80)!r} is not a valid id"
        )
    return "/".join((collection, quote(which, safe=""), *rest))


class Refused(errors.CloudRefused):
    """The cloud refused a call.

    :ivar status: the HTTP status
    :ivar kind: Neutron's type of the error; empty for other services
    """

    def __init__(self, message: str, status: int, kind: str = "") -> None:
        self.status = status
        self.kind = kind
        super().__init__(message)


def error_of_answer(
    call: ApiCall, answer: Response, url: str
) -> errors.CloudError:
    """Return the error for an answer with an error status.

    :param url: the service's address
    """
    status, headers = answer.status_code, answer.headers
    text = answer.content[:_LONGEST_BODY].decode("utf-8", "replace")
    reason, kind = _reason_in(text)
    is_redirect = 300 <= status < 400
    if is_redirect:
        reason = "a redirect, which is not followed; correct the address"
    name = _NAMES[call.service]
    # The service's own log has this id.
    request_id = one_line(headers.get("X-OpenStack-Request-ID", ""), 50)
    own = f" [{request_id}]" if request_id else ""
    # The address may be wrong.
    is_lost = is_redirect or (status == 404 and call.expects)
    shows_url = is_lost or call.service == "identity"
    what = f"{call} at {one_line(url)}" if shows_url else str(call)
    message = f"{name} answered {status} to {what}: {reason or 'no reason'}"
    # Rate limits are often called quotas, too.
    if status != 429 and _USED_UP.search(f"{kind} {reason}"):
        return errors.QuotaExceeded(f"{name}: {reason}{own}")
    message += own
    # Old releases of Nova answer 413 when a rate limit is exceeded.
    if status in (413, 429):
        return errors.Busy(message, _retry_after(headers))
    if status >= 500:
        return call.failed(message, _retry_after(headers))
    if status == 401:
        return errors.AuthenticationFailed(message)
    if status == 412:
        return errors.Changed(f"somebody else changed it meanwhile: {message}")
    if status == 409 and call.service == "compute" and not call.creates:
        # The server is busy with another task, which will end soon.
        return errors.Busy(message)
    return Refused(message, status, kind)


def error_of(call: ApiCall, error: Exception, url: str) -> errors.CloudError:
    """Return the error for one of :data:`FAILURES`.

    :param url: where the request was sent
    """
    answer = getattr(error, "response", None)
    if isinstance(answer, Response) and answer.status_code >= 300:
        return error_of_answer(call, answer, url)
    if isinstance(error, auth.InvalidResponse):
        what = f"{call}: the server at {one_line(url)} is not Keystone"
        return errors.CloudUnavailable(what)
    if isinstance(error, _NO_LOGIN):
        return errors.AuthenticationFailed(_clean(str(error)))
    return _error_of_connection(call, [*_causes(error)], url)


def _reason_in(text: str) -> tuple[str, str]:
    """Return the reason in an answer's body, and Neutron's type of it."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        # A proxy's HTML page, whose first words are enough.
        words = " ".join(re.sub(r"<[^<>]*>", " ", text).split())
        return _clean(words), ""
    # Such as {"badRequest": {...}} of Nova, {"NeutronError": {...}}.
    if isinstance(body, dict) and len(body) == 1:
        (body,) = body.values()
    if isinstance(body, dict):
        message = str(body.get("message", ""))
        return _clean(message.strip()), str(body.get("type", ""))
    return _clean(str(body)), ""


def _clean(text: str) -> str:
    """Return foreign text without secrets, as one short line."""
    return one_line(masked(_LONG_WORD.sub("[...]", text)), _LONGEST)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that the cloud asks to wait."""
    value = headers.get("Retry-After", "")
    # A date, which HTTP allows as well, counts as none.
    seconds = float(value) if re.fullmatch(r"\d{1,9}(\.\d+)?", value) else 0.0
    return min(seconds, _LONGEST_PAUSE)


# -- requests without an answer -----------------------------------------------


def _error_of_connection(
    call: ApiCall, causes: list[BaseException], url: str
) -> errors.CloudError:
    """Return the error for a request that was not answered.

    :param causes: the exceptions; the innermost is the last
    """
    where = one_line(urljoin(url, "/").rstrip("/"))
    if any(isinstance(each, http.ProxyError) for each in causes):
        where += " through the proxy of the environment"
    # The innermost error is OpenSSL's own, which says most.
    for each in reversed(causes):
        if mistake := _tls_mistake_in(each):
            return errors.CloudRefused(
                f"{call}: cannot use {where}: TLS: {_clean(mistake)}; check "
                "the address, REQUESTS_CA_BUNDLE, and cacert, cert and key "
                "([nova] cafile, certfile and keyfile)"
            )
    words = getattr(causes[-1], "strerror", None) or str(causes[-1])
    why = _clean(words) or "it failed without a reason"
    text = f"{call}: cannot reach {where}: {why}"
    # Then no request was sent, so nothing can have been created.
    unconnected = (http.NewConnectionError, http.ConnectTimeoutError)
    if any(isinstance(each, unconnected) for each in causes):
        return errors.CloudUnavailable(text)
    return call.failed(text)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and its causes.

    urllib3, requests and keystoneauth each wrap the system's or OpenSSL's
    error.
    """
    while error is not None:
        yield error
        # As in a traceback, "from None" hides the context.
        hidden = error.__suppress_context__
        error = error.__cause__ or (None if hidden else error.__context__)


def _tls_mistake_in(error: BaseException) -> str:
    """Return why TLS cannot work; an empty text if a retry may help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.rstrip(".")
    if isinstance(error, (ssl.SSLError, http.SSLError)):
        reason = getattr(error, "reason", None) or str(error)
        if any(name in reason for name in _MAY_PASS):
            return ""
        return reason.lower().replace("_", " ")
    if type(error) is OSError and "invalid path" in str(error):
        # requests cannot find the file of certificates or the key.
        return str(error)
    return ""
