"""The token: who has it, and who gets a new one.

keystoneauth would do this by itself, but not for many threads at once: a
token that was refused to several of them is renewed by one, and the others
are told to give up; and while Keystone hangs they wait for each other, however
little time they have.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from keystoneauth1.access.access import AccessInfo
from keystoneauth1.exceptions import HttpError
from keystoneauth1.identity.base import BaseIdentityPlugin

from poolmgr.drivers.nova import failures
from poolmgr.drivers.nova.connection import Access
from poolmgr.drivers.nova.limits import Meter, time_left
from poolmgr.errors import AuthenticationFailed, CloudUnavailable
from poolmgr.text import secrecy

#: Seconds that a token has to be good for, so that it lasts for a call.
_LONG_ENOUGH = 120
#: Seconds after which a login that is not answered keeps nobody waiting.
LONGEST_WAIT = 5.0

Headers = Mapping[str, str]


class Login:
    """Keeps a session logged in; one thread at a time asks for a token.

    :param access: has the session
    :param meter: lets requests to Keystone through
    """

    def __init__(self, access: Access, meter: Meter) -> None:
        self._session = access.session
        self._plugin = cast(BaseIdentityPlugin, access.session.auth)
        self._access = access
        self._meter = meter
        self._lock = threading.Lock()
        self._token: AccessInfo | None = None
        self._end = 0.0

    def headers(self, refused: Headers | None = None) -> Headers:
        """What tells a service who we are.

        :param refused: what a service has refused; another token is got
        :raises AuthenticationFailed: Keystone refuses the login
        :raises NotSent: Keystone does not answer
        """
        if not self._is_good(refused):
            wait = max(0.0, min(LONGEST_WAIT, time_left()))
            is_held = self._lock.acquire(timeout=wait)
            try:
                # Unless the thread that had the lock has got one.
                if not self._is_good(refused):
                    self._log_in()
            finally:
                if is_held:
                    self._lock.release()
        return self._headers()

    @property
    def catalog(self) -> Any:
        """The cloud's services as Keystone lists them."""
        return self._known().service_catalog.catalog

    @property
    def project_id(self) -> str:
        """The project that the login is for; empty if it is for none."""
        return self._known().project_id or ""

    # -- inside -------------------------------------------------------------

    def _known(self) -> AccessInfo:
        """What Keystone told at the last login."""
        self.headers()
        assert self._token is not None  # noqa: S101 - headers() logs in
        return self._token

    def _headers(self) -> Headers:
        access = self._token
        return {"X-Auth-Token": str(access.auth_token)} if access else {}

    def _is_good(self, refused: Headers | None) -> bool:
        """Whether there is a token that lasts for a while, and another one
        than was refused."""
        lasts = time.monotonic() < self._end - _LONG_ENOUGH
        return lasts and self._headers() != refused

    def _log_in(self) -> None:
        try:
            with failures.understood(f"the login at {self._plugin.auth_url}"):
                access = self._asked()
                secrecy.hide(access.auth_token, passing=True)
        except AuthenticationFailed as error:
            where = self._access.origins.credentials
            raise AuthenticationFailed(
                f"{error} (the credentials are from {where})"
            ) from error
        except CloudUnavailable as error:
            # What the login was for has not been asked.
            raise failures.NotSent(str(error), error.retry_after) from error
        self._end = _end_of(access)
        self._token = access

    def _asked(self) -> AccessInfo:
        with (
            failures.translated("logging in", self._access.trust),
            self._meter.request("identity", "POST /auth/tokens") as sent,
        ):
            try:
                access = self._plugin.get_auth_ref(self._session)
            except HttpError as error:
                sent.status = error.http_status
                raise
            sent.status = 201
            return access


def _end_of(access: AccessInfo) -> float:
    """When a token expires, by a clock that nobody sets.

    One that does not say when it expires is used until it is refused.
    """
    with suppress(AttributeError, LookupError, TypeError, ValueError):
        expires, issued = access.expires, access.issued
        if expires is not None and issued is not None:
            return time.monotonic() + (expires - issued).total_seconds()
    return float("inf")
