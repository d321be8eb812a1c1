"""Logged in at Keystone, and where the services are."""

import copy
import logging
import re
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress

from keystoneauth1 import session as keystone
from keystoneauth1.access.access import AccessInfo
from keystoneauth1.exceptions import CatalogException
from openstack.config.cloud_region import CloudRegion
from requests import Response

from poolmgr import errors
from poolmgr.drivers.base import Driver
from poolmgr.drivers.nova.calls import (
    FAILURES,
    Call,
    Refused,
    Service,
    error_of,
)
from poolmgr.drivers.nova.credentials import Origin, is_address
from poolmgr.drivers.nova.sdk import bounded, login_of, with_version
from poolmgr.events import CloudCall
from poolmgr.text import one_line, secrecy
from poolmgr.tracing import current

LOG = logging.getLogger(__name__)

#: Seconds after which a login that is not over keeps no other waiting.
LONGEST_WAIT = 5.0
#: Seconds that a token has to be good for, so that it lasts for a call.
_LONG_ENOUGH = 120
#: The newest microversion of Nova, after "2.", whose answers are known.
_NEWEST_MICROVERSION = 79
#: The oldest that will do: since then a server has its tags from birth.
#: https://docs.openstack.org/nova/latest/reference/api-microversion-history.html
_OLDEST_MICROVERSION = 52
_LOGIN = Call("POST", "identity", "/auth/tokens")
_VERSIONS = {"compute": "v2.1", "network": "v2.0", "image": "v2"}
#: What keystoneauth raises over an answer of another form than documented.
_MISREAD = (AttributeError, LookupError, TypeError, ValueError)


class _Exchange:
    """A request; the status of its answer, if there is one."""

    status: int | None = None


class Session:
    """A session with a cloud: knows its token, project and addresses.

    :param session: of keystoneauth; it is left as it is
    :param region: the cloud's settings, as the SDK has them
    :param origin: says where they are set
    :param driver: whose requests these are: has the limiter, and is told of
        each
    :ivar microversion: the one to speak with Nova in. Unless it is set, it is
        the newest that both know: the documents that say what Nova knows are
        often wrong or hidden, its 406 is not.
    """

    def __init__(
        self,
        session: keystone.Session,
        region: CloudRegion,
        origin: Origin,
        driver: Driver,
    ) -> None:
        self._plugin = login_of(session, region, origin)
        self.session = bounded(session, origin.settings.calls_at_once)
        self._region = region
        self._origin = origin
        self._driver = driver
        # The settings that decide about certificates.
        self._tls = (
            f"{origin.of('cacert')} or REQUESTS_CA_BUNDLE, and "
            f"{origin.of('cert')}"
        )
        # The login that counts, if there is one.  Of all threads that come at
        # once, one puts its own here: setdefault() is one step.
        self._logins: dict[str, Future[AccessInfo]] = {}
        self._good_until = 0.0
        self._urls: dict[Service, str] = {}
        self._is_closed = False
        self._wanted = origin.settings.compute_api_version
        self.microversion = self._wanted or f"2.{_NEWEST_MICROVERSION}"

    def close(self) -> None:
        """Let the connections go; requests from now on fail."""
        self._is_closed = True
        self.session.session.close()

    def send(self, call: Call, access: AccessInfo, timeout: float) -> Response:
        """Send the request of a call; what it is answered.

        :raises CloudError: it is not answered
        """
        url, context = self.url(call.service, timeout), current()
        headers = {
            "Accept": "application/json",
            "X-Auth-Token": str(access.auth_token),
            **(call.headers or {}),
        }
        is_nova = call.service == "compute"
        with self._exchange(call, url) as exchange:
            response = self.session.request(
                url + call.path,
                call.method,
                params=call.params,
                json=call.body,
                headers=headers,
                microversion=self.microversion if is_nova else None,
                microversion_service_type=call.service,
                # Its services log it as the global request id.
                global_request_id=context.request_id if context else None,
                authenticated=False,
                raise_exc=False,
                # It would have the bodies.
                log=False,
                # The SDK's sleeps until the wall clock has caught up.
                rate_semaphore=nullcontext(),
                timeout=timeout,
            )
            exchange.status = response.status_code
        return response

    def takes_another_microversion(self, said: str) -> bool:
        """Whether there is another one to try than Nova has refused.

        https://docs.openstack.org/api-guide/compute/microversions.html

        :param said: its answer, which has the range that it knows
        """
        known = r"minimum is 2\.(\d+) and maximum is 2\.(\d+)"
        found = re.search(known, said, re.I)
        if found is None or self._wanted:
            return False
        least, most = int(found[1]), int(found[2])
        if most < _OLDEST_MICROVERSION:
            return False
        self.microversion = f"2.{max(least, min(most, _NEWEST_MICROVERSION))}"
        return True

    # -- Keystone -----------------------------------------------------------

    def log_in(self, timeout: float) -> AccessInfo:
        """What Keystone told at the last login; good for a while.

        Who comes during a login shares its result, a failure as well: a
        Keystone that refuses the login, or hangs, is not asked by each of a
        hundred threads.  A failure is not remembered.

        :raises AuthenticationFailed: it refuses the login
        :raises CloudUnavailable: it cannot be asked at the moment
        """
        mine: Future[AccessInfo] = Future()
        latest = self._logins.setdefault("latest", mine)
        if latest is mine:
            try:
                mine.set_result(self._ask_keystone(timeout))
            except BaseException as error:
                self._drop(mine)
                mine.set_exception(error)
        try:
            access = latest.result(min(timeout, LONGEST_WAIT))
        except TimeoutError:
            self._drop(latest)
            why = "logging in: it takes too long"
            raise errors.CloudUnavailable(why) from None
        if latest is not mine and time.monotonic() > self._good_until:
            self._drop(latest)
            return self.log_in(timeout)
        return access

    def forget(self, access: AccessInfo) -> None:
        """Log in anew next time, unless that was done since this login."""
        latest = self._logins.get("latest")
        if latest and latest.done() and latest.result() is access:
            self._drop(latest)

    def project_id(self, timeout: float) -> str:
        """The project whose resources are ours.

        :raises CloudRefused: the login has none
        """
        project = self.log_in(timeout).project_id
        if not project:
            raise errors.CloudRefused(
                "the login is for no project; set "
                + self._origin.of("project_name")
            )
        return project

    def url(self, service: Service, timeout: float) -> str:
        """A service's address, with the version.

        :raises CloudRefused: there is none
        """
        if service not in self._urls:
            given = self._region.get_endpoint(service)
            found = given or self._url_in_catalog(service, timeout)
            self._urls[service] = with_version(found, _VERSIONS[service])
        return self._urls[service]

    def described(self, service: Service) -> str:
        """A service's address and where it is set, for messages."""
        where = "the catalog"
        if self._region.get_endpoint(service):
            where = self._origin.of(f"{service}_endpoint_override")
        return one_line(f"{self._urls[service]} (the address is from {where})")

    # -- inside -------------------------------------------------------------

    @contextmanager
    def _exchange(self, call: Call, url: str) -> Iterator[_Exchange]:
        """Send a request in the block: in its turn, timed and reported.

        :raises CloudError: it is not answered
        """
        if self._is_closed:
            raise errors.CloudUnavailable(f"{call}: the driver is closed")
        self._driver.limiter.acquire()
        exchange, started = _Exchange(), time.monotonic()
        try:
            yield exchange
        except FAILURES as error:
            exchange.status = getattr(error, "http_status", None)
            raise error_of(call, error, url, self._tls) from error
        finally:
            status, took = exchange.status, time.monotonic() - started
            LOG.debug("%s: %s in %.3f s", call, status or "no answer", took)
            self._driver.report_call(
                CloudCall(call.service, call.method, status, took)
            )

    def _drop(self, login: Future[AccessInfo]) -> None:
        if self._logins.get("latest") is login:
            self._logins.pop("latest", None)

    def _ask_keystone(self, timeout: float) -> AccessInfo:
        session = copy.copy(self.session)
        session.timeout = timeout
        url = str(self._plugin.auth_url)
        try:
            with self._exchange(_LOGIN, url) as exchange:
                access = self._plugin.get_auth_ref(session)
                exchange.status = 201
            secrecy.hide(access.auth_token, passing=True)
        except (errors.AuthenticationFailed, Refused) as error:
            raise errors.AuthenticationFailed(
                f"the cloud refuses the login: {error} (the credentials are "
                f"from {self._origin})"
            ) from error
        except _MISREAD as error:
            why = f"the answer to the login at {url} is not understood"
            raise errors.CloudUnavailable(why) from error
        self._good_until = _end_of(access)
        return access

    def _url_in_catalog(self, service: Service, timeout: float) -> str:
        region, origin = self._region, self._origin
        self.project_id(timeout)
        try:
            url = self.log_in(timeout).service_catalog.url_for(
                service_type=region.get_service_type(service),
                service_name=region.get_service_name(service),
                interface=region.get_interface(service) or "public",
                region_name=region.get_region_name(service) or None,
            )
            if not is_address(str(url)):
                raise ValueError(f"its address is none: {url!r}")
        except (CatalogException, *_MISREAD) as error:
            raise errors.CloudRefused(
                f"the catalog has no service {service!r}: "
                f"{one_line(str(error))}; "
                f"see {origin.of('region_name')} and {origin.of('interface')}"
            ) from error
        return str(url)


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
