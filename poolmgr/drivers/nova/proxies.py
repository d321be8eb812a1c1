"""The SDK's proxies, which know where the services are."""

from typing import TYPE_CHECKING

from poolmgr.drivers.nova.calls import Service
from poolmgr.drivers.nova.watchdog import Watchdog
from poolmgr.drivers.turns import Turns
from poolmgr.errors import CloudRefused
from poolmgr.waiting import Deadline

if TYPE_CHECKING:
    from openstack.connection import Connection
    from openstack.proxy import Proxy

#: Nova's microversion that is asked for: the newest whose answers are known.
WANTED_MICROVERSION = (2, 79)
#: The oldest that will do: since then a server has its tags from birth.
#: https://docs.openstack.org/nova/latest/reference/api-microversion-history.html
NEEDED_MICROVERSION = (2, 52)
#: Seconds after which a search that has no end keeps nobody waiting.
_PATIENCE = 5.0


class Proxies:
    """Finds each service once: threads at once would find it many times.

    :param connection: how to get there; no call has been made yet
    :param watchdog: has the cloud asked, and gives it up
    :ivar microversion: what to speak with Nova, None until Nova is found
    """

    def __init__(self, connection: "Connection", watchdog: Watchdog) -> None:
        self.microversion: str | None = None
        self._connection = connection
        self._watchdog = watchdog
        self._turns = Turns(_PATIENCE)
        self._found: dict[Service, Proxy] = {}

    def of(self, service: Service, deadline: Deadline) -> "Proxy":
        """A service's proxy.

        :raises CloudRefused: there is none, or it is too old
        :raises Unavailable: it cannot be asked
        """
        proxy = self._found.get(service)
        if proxy is not None:
            return proxy
        doing = f"looking for the service {service}"
        with self._turns.of("the connection", deadline):
            if service not in self._found:
                made, version = self._watchdog.run(
                    lambda: self._find(service), deadline, doing
                )
                self.microversion = version or self.microversion
                self._found[service] = made
            return self._found[service]

    def _find(self, service: Service) -> "tuple[Proxy, str | None]":
        made = _made(self._connection, service)
        version = _microversion(made) if service == "compute" else None
        return made, version


def _made(connection: "Connection", service: Service) -> "Proxy":
    proxy: Proxy = getattr(connection, service)
    if not hasattr(proxy, "get_endpoint_data"):
        raise CloudRefused(
            f"the cloud's catalog has no service {service!r} in the region "
            f"{connection.config.get_region_name(service)!r}"
        )
    return proxy


def _microversion(compute: "Proxy") -> str:
    """The microversion to speak with Nova.

    :raises CloudRefused: Nova is too old
    """
    data = compute.get_endpoint_data()
    newest = data.max_microversion if data is not None else None
    version = min(newest or WANTED_MICROVERSION, WANTED_MICROVERSION)
    if version < NEEDED_MICROVERSION:
        raise CloudRefused(
            f"Nova's newest microversion is {_dotted(version)}; poolmgr needs "
            f"{_dotted(NEEDED_MICROVERSION)} (the release Pike) or newer"
        )
    return _dotted(version)


def _dotted(version: tuple[float, ...]) -> str:
    return ".".join(map(str, version))
