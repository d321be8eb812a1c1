"""The token: who has it, and who gets a new one.

keystoneauth would do this by itself, but not for many threads at once: a
token that was refused to several of them is renewed by one, and the others
are told to give up; and while Keystone hangs they wait for each other, however
little time they have.
"""

import copy
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from poolmgr import secrecy
from poolmgr.cloud.breaker import Breaker
from poolmgr.drivers.nova import failures
from poolmgr.drivers.nova.watchdog import Watchdog
from poolmgr.drivers.turns import Turns
from poolmgr.errors import AuthenticationFailed
from poolmgr.events import CloudCall
from poolmgr.waiting import Deadline

if TYPE_CHECKING:
    from keystoneauth1.access.access import AccessInfo
    from keystoneauth1.identity.base import BaseIdentityPlugin
    from keystoneauth1.session import Session

#: Seconds that a token has to be good for, so that it lasts for a call.
_LONG_ENOUGH = 120
#: Seconds after which a login that is not answered keeps nobody waiting.
_PATIENCE = 5.0
#: Seconds between two logins that are refused: clouds lock accounts after a
#: few.
_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 300.0
#: Seconds for which a service that refuses new tokens is asked for no others.
_DISTRUST = 30.0


class Login:
    """Keeps a session logged in; one thread at a time asks for a token.

    A login that Keystone refuses is not repeated for a while: whoever needs
    it is told so at once.

    :param session: of keystoneauth
    :param watchdog: has Keystone asked, and gives it up
    :param tell: told of each call of Keystone
    :param origin: where the credentials are set
    :ivar breaker: holds logins back while they are refused
    """

    def __init__(
        self,
        session: "Session",
        watchdog: Watchdog,
        tell: Callable[[CloudCall], None],
        origin: str,
    ) -> None:
        self._origin = origin
        self._session = session
        # The SDK waits for itself for ever where the question for Keystone's
        # versions is answered with 401; without credentials it does not.
        self._bare = copy.copy(session)
        self._bare.auth = None
        self._watchdog = watchdog
        self._tell = tell
        self._turns = Turns(_PATIENCE)
        self._distrusted: dict[str, float] = {}
        self.breaker = Breaker(
            "logging in (Keystone)",
            AuthenticationFailed,
            AuthenticationFailed,
            first=_FIRST_PAUSE,
            longest=_LONGEST_PAUSE,
            level=logging.DEBUG,  # whoever is refused says so
        )

    @property
    def catalog(self) -> Any:
        """The cloud's services as Keystone lists them; None before a login,
        and of what does not log in at Keystone."""
        plugin = self._plugin()
        if plugin is None or plugin.auth_ref is None:
            return None
        return plugin.auth_ref.service_catalog.catalog or []

    def ensure(self, deadline: Deadline) -> None:
        """Have a token that is good for a while."""
        plugin = self._plugin()
        if plugin is None or _is_good(plugin):
            return
        with self._turns.of("the token", deadline):
            if not _is_good(plugin):
                self._log_in(plugin, deadline)

    def renew(
        self, service: str, refused: str | None, deadline: Deadline
    ) -> bool:
        """Have another token than one that a service has refused.

        :returns: whether there is another
        """
        if time.monotonic() < self._distrusted.get(service, 0.0):
            return False
        plugin = self._plugin()
        if plugin is None:
            return bool(self._session.invalidate())
        with self._turns.of("the token", deadline):
            current = plugin.auth_ref
            if current is None or current.auth_token == refused:
                self._log_in(plugin, deadline)
        return True

    def distrust(self, service: str) -> None:
        """Renew no token for a service that has refused a new one."""
        self._distrusted[service] = time.monotonic() + _DISTRUST

    def _plugin(self) -> "BaseIdentityPlugin | None":
        """What gets tokens from Keystone; None if there is none in use."""
        from keystoneauth1.identity.base import BaseIdentityPlugin

        plugin = self._session.auth
        return plugin if isinstance(plugin, BaseIdentityPlugin) else None

    def _log_in(
        self, plugin: "BaseIdentityPlugin", deadline: Deadline
    ) -> None:
        with failures.understood(f"the login at {plugin.auth_url}"):
            with self.breaker.turn(deadline, patience=0.0):
                auth_ref = self._asked(plugin, deadline)
            secrecy.hide(auth_ref.auth_token, passing=True)
            _keep_time(auth_ref)
        # In one step: who finds no token in between would trip.
        plugin.auth_ref = auth_ref

    def _asked(
        self, plugin: "BaseIdentityPlugin", deadline: Deadline
    ) -> "AccessInfo":
        from keystoneauth1.exceptions import HttpError, MissingAuthPlugin

        started = time.monotonic()
        status: int | None = None

        def ask() -> "AccessInfo":
            nonlocal status
            try:
                auth_ref = plugin.get_auth_ref(self._bare)
            except HttpError as error:
                status = error.http_status
                raise
            except MissingAuthPlugin:
                status = 401
                raise AuthenticationFailed(
                    "the cloud refuses the login: Keystone answers 401 to "
                    "the question for its versions"
                ) from None
            status = 201
            return auth_ref

        try:
            return self._watchdog.run(ask, deadline, "logging in")
        except AuthenticationFailed as error:
            raise AuthenticationFailed(
                f"{error} (the credentials are from {self._origin})"
            ) from error
        finally:
            took = time.monotonic() - started
            self._tell(CloudCall("identity", "POST", status, took))


def _keep_time(auth_ref: "AccessInfo") -> None:
    """Have a token expire by a clock that nobody sets.

    One that does not say when it expires is used until it is refused.
    """
    end = float("inf")
    with suppress(AttributeError, LookupError, TypeError, ValueError):
        expires, issued = auth_ref.expires, auth_ref.issued
        if expires is not None and issued is not None:
            end = time.monotonic() + (expires - issued).total_seconds()

    def will_expire_soon(stale_duration: float = 30.0) -> bool:
        return time.monotonic() > end - stale_duration

    # The SDK asks it for each call.
    auth_ref.will_expire_soon = will_expire_soon  # type: ignore[method-assign]


def _is_good(plugin: "BaseIdentityPlugin") -> bool:
    current = plugin.auth_ref
    return current is not None and not current.will_expire_soon(_LONG_ENOUGH)
