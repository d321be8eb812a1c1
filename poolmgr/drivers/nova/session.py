"""A session with a cloud: logs in, finds the services, makes calls."""

import copy
import logging
import re
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec
from keystoneauth1.access.access import AccessInfo
from keystoneauth1.exceptions import CatalogException
from requests import Response

from poolmgr import errors
from poolmgr.drivers.base import Driver
from poolmgr.drivers.nova import calls
from poolmgr.drivers.nova.calls import ApiCall, ServiceType
from poolmgr.drivers.nova.credentials import ADDRESS, Account, with_version
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.drivers.nova.transport import limit
from poolmgr.events import CloudCall
from poolmgr.text import one_line, secrecy
from poolmgr.tracing import current

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds before its end at which a token is replaced, so that it does not
#: expire while Nova uses it for a call.
_RENEW_BEFORE = 120
#: The newest microversion of Nova whose answers are known.
_NEWEST_MICROVERSION = "2.79"
#: The oldest, after "2.", that has tags in the request for a new server.
#: https://docs.openstack.org/nova/latest/reference/api-microversion-history.html
_OLDEST_MICROVERSION = 52
_LOGIN = ApiCall("POST", "identity", "/auth/tokens")
_VERSIONS = {"compute": "v2.1", "network": "v2.0", "image": "v2"}
#: Raised by keystoneauth for an answer that is not as documented.
_MALFORMED = (AttributeError, LookupError, TypeError, ValueError)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")

#: The fields of an answer, not decoded yet: most of them are never used.
Answer = dict[str, msgspec.Raw]


class _Login(NamedTuple):
    """The result of a login.

    :ivar access: Keystone's answer; None if the login failed, or there was
        none yet
    :ivar renew_at: when to log in again, by ``time.monotonic()``
    """

    access: AccessInfo | None = None
    renew_at: float = 0.0
    failure: errors.CloudError = errors.CloudError("not logged in")


class CloudSession:
    """A session with a cloud; any thread may use it.

    :param account: the credentials
    :param settings: the group ``[nova]``
    :param driver: has the rate limiter, and gets a report of each request
    :ivar microversion: Nova's microversion; unless it is set, the newest that
        Nova and poolmgr know. Nova's version documents are often wrong or
        hidden, but its 406 is reliable.
    """

    def __init__(
        self, account: Account, settings: NovaSettings, driver: Driver
    ) -> None:
        self._account = account
        self._session = limit(account.session, settings.calls_at_once)
        self._driver = driver
        self._login = _Login()
        # Reentrant, because two names may share a lock.
        self._locks = [threading.RLock() for _number in range(64)]
        self._urls: dict[ServiceType, str] = {}
        self._fixed_microversion = settings.compute_api_version
        self.microversion = self._fixed_microversion or _NEWEST_MICROVERSION

    def close(self) -> None:
        """Close the connections."""
        self._session.session.close()

    def run(self, call: ApiCall, timeout: float) -> Answer:
        """Make a call; return the fields of its answer.

        :param timeout: seconds for each request
        :raises Refused: the cloud refuses the call
        :raises CloudUnavailable: the cloud does not work at the moment
        :raises OutcomeUnknown: the call creates something, and may have done
            so
        """
        refused: AccessInfo | None = None
        for _attempt in range(2):
            access = self.log_in(timeout, refused)
            url = self._url(call.service, timeout)
            request = self._request(call, url, access, timeout)
            response = self.send(call, url, request)
            if response.status_code == 401:
                refused = access
            elif not self._learn_microversion(call, response):
                break
        if response.status_code < 300:
            return _fields_in(call, response.content)
        raise calls.error_of_answer(call, response, url)

    def log_in(
        self, timeout: float, refused: AccessInfo | None = None
    ) -> AccessInfo:
        """Return the current login; log in first if necessary.

        Threads that need a login at the same time share one, even if it
        fails: clouds lock accounts after a few wrong passwords.

        :param refused: a login whose token was refused
        :raises AuthenticationFailed: Keystone refuses the login
        :raises CloudUnavailable: Keystone does not work at the moment
        """
        login = self._login
        is_good = login.access and login.access is not refused
        if not is_good or time.monotonic() > login.renew_at:
            with self.lock_for("login"):
                # Unless another thread has just done so.
                if self._login is login:
                    self._login = self._request_token(timeout)
                login = self._login
        if login.access is None:
            # A copy, because callers add to the text of an error.
            raise copy.copy(login.failure)
        return login.access

    def lock_for(self, name: str) -> AbstractContextManager[object]:
        """Return a lock, so that threads that use one name take turns.

        :param name: names a change of the cloud, or the login
        """
        return self._locks[hash(name) % len(self._locks)]

    def project_id(self, timeout: float) -> str:
        """Return the id of the project that the login is for.

        :raises CloudRefused: the login is for no project
        """
        project = self.log_in(timeout).project_id
        if not project:
            why = "the login is for no project; set project_name"
            raise errors.CloudRefused(f"{self._account.origin}: {why}")
        return project

    def send(self, call: ApiCall, url: str, request: Callable[[], T]) -> T:
        """Send a request when the rate limit allows it, and report it.

        :param url: where the request is sent
        :raises CloudError: there is no answer, or the login fails
        """
        self._driver.limiter.acquire()
        status, started = None, time.monotonic()
        try:
            answer = request()
            status = getattr(answer, "status_code", 201)
            return answer
        except calls.FAILURES as error:
            status = getattr(error, "http_status", None)
            raise calls.error_of(call, error, url) from error
        finally:
            took = time.monotonic() - started
            LOG.debug("%s: %s in %.3f s", call, status or "no answer", took)
            self._driver.report_call(
                CloudCall(call.service, call.method, status, took)
            )

    # -- inside -------------------------------------------------------------

    def _request(
        self, call: ApiCall, url: str, access: AccessInfo, timeout: float
    ) -> Callable[[], Response]:
        """Return a function that sends the request of a call."""
        context, is_nova = current(), call.service == "compute"
        token = {"X-Auth-Token": str(access.auth_token)}
        return partial(
            self._session.request,
            url + call.path,
            call.method,
            params=call.params,
            json=call.body,
            headers={**token, **(call.headers or {})},
            microversion=self.microversion if is_nova else None,
            microversion_service_type=call.service,
            # The services log it as the global request id.
            global_request_id=context.request_id if context else None,
            authenticated=False,
            raise_exc=False,
            # keystoneauth would log the bodies.
            log=False,
            # keystoneauth's own depends on the wall clock.
            rate_semaphore=nullcontext(),
            timeout=timeout,
        )

    def _learn_microversion(self, call: ApiCall, response: Response) -> bool:
        """Read from Nova's 406 which microversion it knows.

        https://docs.openstack.org/api-guide/compute/microversions.html

        :returns: whether the call can be repeated with that
        """
        if response.status_code != 406 or self._fixed_microversion:
            return False
        body = response.content
        newest = re.search(rb"maximum is 2\.(\d{1,4})\b", body, re.I)
        if newest is None or int(newest[1]) < _OLDEST_MICROVERSION:
            return False
        self.microversion = f"2.{int(newest[1])}"
        return True

    def _request_token(self, timeout: float) -> _Login:
        plugin, session = self._account.plugin, copy.copy(self._session)
        session.timeout = timeout
        url = str(plugin.auth_url)
        try:
            request = partial(plugin.get_auth_ref, session)
            access = self.send(_LOGIN, url, request)
            # The cloud's clock may be wrong: only the difference counts.
            lasts = (access.expires - access.issued).total_seconds()  # type: ignore[operator]
        except (errors.AuthenticationFailed, calls.Refused) as error:
            failed = errors.AuthenticationFailed(
                f"the cloud refuses the login: {error} (the credentials are "
                f"from {self._account.origin})"
            )
            return _Login(failure=failed)
        except errors.CloudError as error:
            return _Login(failure=error)
        except _MALFORMED:
            why = f"the answer to the login at {url} is not understood"
            return _Login(failure=errors.CloudUnavailable(why))
        secrecy.hide(access.auth_token, is_token=True)
        # A token of a minute would otherwise be replaced for each call.
        lasts -= min(_RENEW_BEFORE, lasts / 2)
        return _Login(access, time.monotonic() + lasts)

    def _url(self, service: ServiceType, timeout: float) -> str:
        """Return a service's address with its version.

        :raises CloudRefused: the catalog has no such service
        """
        if service not in self._urls:
            given = self._account.region.get_endpoint(service)
            url = given or self._url_in_catalog(service, timeout)
            self._urls[service] = with_version(url, _VERSIONS[service])
        return self._urls[service]

    def _url_in_catalog(self, service: ServiceType, timeout: float) -> str:
        region = self._account.region
        self.project_id(timeout)
        try:
            url = self.log_in(timeout).service_catalog.url_for(
                service_type=region.get_service_type(service),
                service_name=region.get_service_name(service),
                interface=region.get_interface(service) or "public",
                region_name=region.get_region_name(service) or None,
            )
            if not ADDRESS.fullmatch(str(url)):
                raise ValueError(f"its address {url!r} is not valid")
        except (CatalogException, *_MALFORMED) as error:
            why = f"{one_line(str(error))}; check region_name and interface"
            raise errors.CloudRefused(
                f"the catalog has no service {service!r}: {why}"
            ) from error
        return str(url)


def _fields_in(call: ApiCall, body: bytes) -> Answer:
    """Return the fields of an answer.

    :raises CloudUnavailable: it is not a JSON object
    """
    try:
        try:
            return msgspec.json.decode(body or b"{}", type=Answer)
        except msgspec.DecodeError:
            # A lone surrogate in one name must not hide the whole list.
            body = _SURROGATE.sub(b"?", body)
            return msgspec.json.decode(body, type=Answer)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        # The error would quote the body, which may have secrets in it.
        why = f"the answer to {call} is not a JSON object"
        raise call.failed(why) from None
