"""The services of a cloud: logged in, found in the catalog, asked.

They are plain calls on the SDK's session: its resource objects cost many times
the JSON they are made from, and its cloud layer does more than it is asked.
"""

import copy
import logging
import re
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from typing import TypeVar, cast

from keystoneauth1.access.access import AccessInfo
from keystoneauth1.exceptions import CatalogException
from keystoneauth1.identity.base import BaseIdentityPlugin
from requests import Response

from poolmgr import errors
from poolmgr.drivers.base import Driver
from poolmgr.drivers.nova import failures
from poolmgr.drivers.nova.calls import MISREAD, Call, Service
from poolmgr.drivers.nova.credentials import is_address
from poolmgr.drivers.nova.failures import NotSent, Refused
from poolmgr.drivers.nova.once import Once
from poolmgr.drivers.nova.session import Access, with_version
from poolmgr.events import CloudCall
from poolmgr.text import one_line, secrecy
from poolmgr.tracing import current

LOG = logging.getLogger(__name__)
T = TypeVar("T")

_LOGIN = Call("POST", "identity", "/auth/tokens")

#: Seconds that a token has to be good for, so that it lasts for a call.
_LONG_ENOUGH = 120
#: The newest microversion of Nova, after "2.", whose answers are known.
_NEWEST_MICROVERSION = 79
#: The oldest that will do: since then a server has its tags from birth.
#: https://docs.openstack.org/nova/latest/reference/api-microversion-history.html
_OLDEST_MICROVERSION = 52
_MICROVERSIONS = re.compile(
    r"minimum is 2\.(\d+) and maximum is 2\.(\d+)", re.I
)
_VERSIONS: dict[Service, str] = {
    "compute": "v2.1",
    "network": "v2.0",
    "image": "v2",
}


class Services:
    """The services of a cloud.

    :param access: how to get there; no call has been made yet
    :param driver: whose calls these are: has the limiter, and is told of each
    :param microversion: the one to speak with Nova in; None for the newest
        that both know: the documents that say what Nova knows are often wrong
        or hidden, its 406 is not
    """

    def __init__(
        self, access: Access, driver: Driver, microversion: str | None
    ) -> None:
        self._is_set = microversion is not None
        self.microversion = microversion or f"2.{_NEWEST_MICROVERSION}"
        self._session = access.session
        self._plugin = cast(BaseIdentityPlugin, access.session.auth)
        self._config = access.config
        self._origin = access.origin
        # The settings that decide about certificates.
        self._tls = (
            f"{self._origin.of('cacert')} or REQUESTS_CA_BUNDLE, and "
            f"{self._origin.of('cert')}"
        )
        self._driver = driver
        self._login = Once("logging in", self._log_in)
        self._good_until = 0.0
        self._urls: dict[Service, str] = {}
        self._is_closed = False

    def send(self, call: Call, timeout: float) -> Response:
        """The response to a call, with a token that is good.

        :param timeout: seconds that each request may take
        :raises CloudError: there is none
        """
        access = self._access(timeout)
        response = self._exchange(call, access, timeout)
        if response.status_code == 401:
            # keystoneauth would have one of many threads log in again, and
            # the others give up.
            self._login.forget(access)
            access = self._access(timeout)
            response = self._exchange(call, access, timeout)
        is_unknown = response.status_code == 406 and call.service == "compute"
        if is_unknown and self._takes_another_microversion(response.text):
            response = self._exchange(call, access, timeout)
        return response

    def described(self, service: Service) -> str:
        """A service's address and where it is set, for messages."""
        where = "the catalog"
        if self._config.get_endpoint(service):
            where = self._origin.of(f"{service}_endpoint_override")
        return one_line(f"{self._urls[service]} (the address is from {where})")

    def project_id(self, timeout: float) -> str:
        """The project whose things are ours.

        :raises CloudRefused: the login has none
        """
        project = self._access(timeout).project_id
        if not project:
            raise errors.CloudRefused(
                "the login is for no project; set "
                + self._origin.of("project_name")
            )
        return project

    def close(self) -> None:
        """Let the connections go; calls from now on fail."""
        self._is_closed = True
        self._session.session.close()

    # -- inside -------------------------------------------------------------

    def _exchange(
        self, call: Call, access: AccessInfo, timeout: float
    ) -> Response:
        """The response to one request."""
        url, context = self._url(call.service, timeout), current()
        headers = {
            "Accept": "application/json",
            "X-Auth-Token": str(access.auth_token),
            **(call.headers or {}),
        }
        is_nova = call.service == "compute"
        # No log, for it would have the bodies; no semaphore, for the SDK's
        # sleeps until the wall clock has caught up.
        send = partial(
            self._session.request,
            url + call.path,
            call.method,
            params=call.params,
            json=call.body,
            headers=headers,
            microversion=self.microversion if is_nova else None,
            microversion_service_type=call.service,
            # Its services write it into their logs as the global request id.
            global_request_id=context.request_id if context else None,
            authenticated=False,
            raise_exc=False,
            log=False,
            rate_semaphore=nullcontext(),
            timeout=timeout,
        )
        return self._measured(call, url, send)

    def _measured(self, call: Call, url: str, send: Callable[[], T]) -> T:
        """What a request is answered; sent in its turn, timed and reported."""
        if self._is_closed:
            raise NotSent(f"{call}: the driver is closed")
        self._driver.limiter.acquire()
        started = time.monotonic()
        status = None
        try:
            with failures.translated(call, url, self._tls):
                answer = send()
            status = getattr(answer, "status_code", 201)
            return answer
        except errors.CloudError as error:
            status = getattr(error.__cause__, "http_status", None)
            raise
        finally:
            took = time.monotonic() - started
            LOG.debug("%s: %s in %.3f s", call, status or "no answer", took)
            self._driver.report_call(
                CloudCall(call.service, call.method, status, took)
            )

    def _takes_another_microversion(self, said: str) -> bool:
        """Whether there is another one to try than Nova has refused.

        https://docs.openstack.org/api-guide/compute/microversions.html

        :param said: its answer, which has the range that it knows
        """
        found = _MICROVERSIONS.search(said)
        if found is None or self._is_set:
            return False
        least, most = int(found[1]), int(found[2])
        if most < _OLDEST_MICROVERSION:
            return False
        self.microversion = f"2.{max(least, min(most, _NEWEST_MICROVERSION))}"
        return True

    # -- Keystone -----------------------------------------------------------

    def _access(self, timeout: float) -> AccessInfo:
        """What Keystone told at the last login; good for a while."""
        access = self._login.get(timeout)
        if time.monotonic() > self._good_until:
            self._login.forget(access)
            access = self._login.get(timeout)
        return access

    def _log_in(self, timeout: float) -> AccessInfo:
        session = copy.copy(self._session)
        session.timeout = timeout
        url = str(self._plugin.auth_url)
        ask = partial(self._plugin.get_auth_ref, session)
        try:
            with failures.understood(f"the login at {url}"):
                access = self._measured(_LOGIN, url, ask)
                secrecy.hide(access.auth_token, passing=True)
        except (errors.AuthenticationFailed, Refused) as error:
            raise errors.AuthenticationFailed(
                f"the cloud refuses the login: {error} (the credentials are "
                f"from {self._origin})"
            ) from error
        except errors.CloudUnavailable as error:
            # What the login was for has not been asked.
            raise NotSent(str(error), error.retry_after) from error
        self._good_until = _end_of(access)
        return access

    def _url(self, service: Service, timeout: float) -> str:
        """A service's address, with the version.

        :raises CloudRefused: there is none
        """
        if service not in self._urls:
            given = self._config.get_endpoint(service)
            found = given or self._url_in_catalog(service, timeout)
            self._urls[service] = with_version(found, _VERSIONS[service])
        return self._urls[service]

    def _url_in_catalog(self, service: Service, timeout: float) -> str:
        config, origin = self._config, self._origin
        self.project_id(timeout)
        catalog = self._access(timeout).service_catalog
        try:
            found = catalog.url_for(
                service_type=config.get_service_type(service),
                service_name=config.get_service_name(service),
                interface=config.get_interface(service) or "public",
                region_name=config.get_region_name(service) or None,
            )
        except (CatalogException, *MISREAD) as error:
            raise errors.CloudRefused(
                f"the catalog has no service {service!r}: "
                f"{one_line(str(error))}; "
                f"see {origin.of('region_name')} and {origin.of('interface')}"
            ) from error
        if not is_address(url := str(found)):
            what = f"the catalog's address of the service {service!r}"
            raise errors.CloudRefused(f"{what} is none: {one_line(url)!r}")
        return url


def _end_of(access: AccessInfo) -> float:
    """When to log in again, by a clock that nobody sets.

    Of its times only the difference counts: the cloud's clock may be another.
    One that does not say when it expires is used until it is refused.
    """
    with suppress(AttributeError, LookupError, TypeError, ValueError):
        expires, issued = access.expires, access.issued
        if expires is not None and issued is not None:
            lasts = (expires - issued).total_seconds() - _LONG_ENOUGH
            return time.monotonic() + lasts
    return float("inf")
