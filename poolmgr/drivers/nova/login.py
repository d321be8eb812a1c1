"""The token: who has it, and who gets a new one.

keystoneauth would do this by itself, but not for many threads at once: a
token that was refused to several of them is renewed by one, and the others
are told to give up; and while Keystone hangs they wait for each other, however
little time they have.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from poolmgr import secrecy
from poolmgr.drivers.turns import Turns
from poolmgr.observer import CloudCall
from poolmgr.waiting import Deadline

if TYPE_CHECKING:
    from keystoneauth1.access.access import AccessInfo
    from keystoneauth1.identity.base import BaseIdentityPlugin
    from keystoneauth1.session import Session

#: Seconds that a token has to be good for, so that it lasts for a call.
_LONG_ENOUGH = 120


class Login:
    """Keeps a session logged in; one thread at a time asks for a token.

    :param session: of keystoneauth
    :param tell: told of each call of Keystone
    """

    def __init__(
        self,
        session: "Session",
        tell: Callable[[CloudCall], None] = lambda call: None,
    ) -> None:
        self._session = session
        self._tell = tell
        self._turns = Turns()

    def ensure(self, deadline: Deadline) -> None:
        """Have a token that is good for a while."""
        plugin = self._plugin()
        if plugin is None or _is_good(plugin):
            return
        with self._turns.of("the token", deadline):
            if not _is_good(plugin):
                self._log_in(plugin)

    def renew(self, refused: str | None, deadline: Deadline) -> bool:
        """Have another token than one that was refused.

        :returns: whether there is another
        """
        plugin = self._plugin()
        if plugin is None:
            return bool(self._session.invalidate())
        with self._turns.of("the token", deadline):
            current = plugin.auth_ref
            if current is None or current.auth_token == refused:
                self._log_in(plugin)
        return True

    def _plugin(self) -> "BaseIdentityPlugin | None":
        """What gets tokens from Keystone; None if there is none in use."""
        from keystoneauth1.identity.base import BaseIdentityPlugin

        plugin = self._session.auth
        return plugin if isinstance(plugin, BaseIdentityPlugin) else None

    def _log_in(self, plugin: "BaseIdentityPlugin") -> None:
        # In one step: who finds no token in between would trip.
        auth_ref = self._asked(plugin)
        secrecy.hide(auth_ref.auth_token)
        plugin.auth_ref = auth_ref

    def _asked(self, plugin: "BaseIdentityPlugin") -> "AccessInfo":
        from keystoneauth1.exceptions import HttpError

        started = time.monotonic()
        status: int | None = None
        try:
            auth_ref = plugin.get_auth_ref(self._session)
            status = 201
            return auth_ref
        except HttpError as error:
            status = error.http_status
            raise
        finally:
            took = time.monotonic() - started
            self._tell(CloudCall("identity", "POST", status, took))


def _is_good(plugin: "BaseIdentityPlugin") -> bool:
    current = plugin.auth_ref
    return current is not None and not current.will_expire_soon(_LONG_ENOUGH)
