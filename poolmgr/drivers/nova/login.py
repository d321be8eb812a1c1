"""The login to a cloud: a token, the project, the services' addresses."""

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple

from keystoneauth1.access.access import AccessInfo
from keystoneauth1.exceptions import CatalogException
from keystoneauth1.session import Session

from poolmgr import errors
from poolmgr.drivers.nova.calls import ApiCall, Refused, ServiceType
from poolmgr.drivers.nova.credentials import ADDRESS, Account, with_version
from poolmgr.text import one_line, secrecy

#: Seconds before its end at which a token is replaced, so that it does not
#: expire while Nova uses it for a call.
_RENEW_BEFORE = 120
_LOGIN = ApiCall("POST", "identity", "/auth/tokens")
_VERSIONS = {"compute": "v2.1", "network": "v2.0", "image": "v2"}
#: Raised by keystoneauth for an answer that is not as documented.
_MALFORMED = (AttributeError, LookupError, TypeError, ValueError)


class _Result(NamedTuple):
    """The result of a login.

    :ivar access: Keystone's answer; None if the login failed, or there was
        none yet
    :ivar renew_at: when to log in again, by ``time.monotonic()``
    """

    access: AccessInfo | None = None
    renew_at: float = 0.0
    failure: errors.CloudError = errors.CloudError("not logged in")


class Login:
    """The login to a cloud; any thread may use it.

    :param account: the credentials
    :param session: sends the request for a token
    :param send: see :meth:`Api.send`
    :param lock: held while a thread logs in
    """

    def __init__(
        self,
        account: Account,
        session: Session,
        send: Callable[[ApiCall, str, Callable[[], AccessInfo]], AccessInfo],
        lock: AbstractContextManager[object],
    ) -> None:
        self._account = account
        self._session = session
        self._send = send
        self._lock = lock
        self._last = _Result()
        self._urls: dict[ServiceType, str] = {}

    def access(
        self, timeout: float, refused: AccessInfo | None = None
    ) -> AccessInfo:
        """Return Keystone's answer to the login; log in if necessary.

        Threads that need a login at the same time share one, even if it
        fails: clouds lock accounts after a few wrong passwords.

        :param refused: an answer whose token was refused
        :raises AuthenticationFailed: Keystone refuses the login
        :raises CloudUnavailable: Keystone does not work at the moment
        """
        last = self._last
        is_good = last.access and last.access is not refused
        if not is_good or time.monotonic() > last.renew_at:
            with self._lock:
                # Unless another thread has just done so.
                if self._last is last:
                    self._last = self._request_token(timeout)
                last = self._last
        if last.access is None:
            # A copy, because callers add to the text of an error.
            raise copy.copy(last.failure)
        return last.access

    def project_id(self, timeout: float) -> str:
        """Return the id of the project that the login is for.

        :raises CloudRefused: the login is for no project
        """
        project = self.access(timeout).project_id
        if not project:
            why = "the login is for no project; set project_name"
            raise errors.CloudRefused(f"{self._account.origin}: {why}")
        return project

    def url_of(self, service: ServiceType, timeout: float) -> str:
        """Return a service's address with its version.

        :raises CloudRefused: the catalog has no such service
        """
        # Kept for ever: a service with a new address needs a restart.
        if service not in self._urls:
            given = self._account.region.get_endpoint(service)
            url = given or self._url_in_catalog(service, timeout)
            self._urls[service] = with_version(url, _VERSIONS[service])
        return self._urls[service]

    def _request_token(self, timeout: float) -> _Result:
        plugin, session = self._account.plugin, copy.copy(self._session)
        # get_auth_ref() takes no timeout of its own.
        session.timeout = timeout
        url = str(plugin.auth_url)
        try:
            request = partial(plugin.get_auth_ref, session)
            access = self._send(_LOGIN, url, request)
            # The cloud's clock may be wrong: only the difference counts.
            lasts = (access.expires - access.issued).total_seconds()  # type: ignore[operator]
        except (errors.AuthenticationFailed, Refused) as error:
            failed = errors.AuthenticationFailed(
                f"the cloud refuses the login: {error} (the credentials are "
                f"from {self._account.origin})"
            )
            return _Result(failure=failed)
        except errors.CloudError as error:
            return _Result(failure=error)
        except _MALFORMED:
            why = f"the answer to the login at {url} is not understood"
            return _Result(failure=errors.CloudUnavailable(why))
        secrecy.hide(access.auth_token, is_token=True)
        # A token of a minute would otherwise be replaced for each call.
        lasts -= min(_RENEW_BEFORE, lasts / 2)
        return _Result(access, time.monotonic() + lasts)

    def _url_in_catalog(self, service: ServiceType, timeout: float) -> str:
        region = self._account.region
        # A login for no project has an empty catalog; its error says more.
        self.project_id(timeout)
        try:
            url = self.access(timeout).service_catalog.url_for(
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
