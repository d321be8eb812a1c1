"""The loopback cloud: OpenStack in this process, over real HTTP."""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from poolmgr.testing.openstack import seeds
from poolmgr.testing.openstack.fault import Fault, FaultRules
from poolmgr.testing.openstack.front import Front
from poolmgr.testing.openstack.listener import Listener
from poolmgr.testing.openstack.record import Call, Record
from poolmgr.testing.openstack.seeds import Json
from poolmgr.testing.openstack.server import Server
from poolmgr.testing.openstack.settings import CloudSettings
from poolmgr.testing.openstack.state import State

if TYPE_CHECKING:
    from openstack.connection import Connection

#: Name of the cloud in the clouds.yaml that is written.
CLOUD = "loopback"


class LoopbackCloud:
    """An OpenStack on a port of its own, in a thread of its own.

    .. code-block:: python

       with LoopbackCloud(boot_time=0.2) as cloud:
           cloud.connect().compute.get("/servers/detail")

    Everything can be called from any thread.

    :param settings: what it is like; the defaults when None
    :param changes: single settings, by their names in :class:`CloudSettings`
    """

    def __init__(
        self, settings: CloudSettings | None = None, **changes: Any
    ) -> None:
        self.settings = replace(settings or CloudSettings(), **changes)
        self._state = State(self.settings)
        self._record = Record()
        self._faults = FaultRules()
        self._front = Front(self._state, self._record, self._faults)
        self._listener = Listener(self._front)
        self._connections: list[Connection] = []

    # -- its life -----------------------------------------------------------

    def start(self) -> Self:
        """Begin to listen.

        :raises OSError: the address cannot be listened on
        """
        self._front.url = self._listener.start(
            self.settings.host, self.settings.port
        )
        return self

    def close(self) -> None:
        """Close every connection and end the thread."""
        while self._connections:
            connection = self._connections.pop()
            connection.session.session.close()
            connection.close()
        self._listener.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # -- how to reach it ----------------------------------------------------

    @property
    def url(self) -> str:
        """Its address, without a slash at its end."""
        return self._front.url

    @property
    def auth_url(self) -> str:
        """Where tokens are to be had."""
        return f"{self.url}/identity/v3"

    @property
    def credentials(self) -> dict[str, str]:
        """What ``openstack.connect(auth=...)`` needs."""
        return {
            "auth_url": self.auth_url,
            "username": seeds.USERNAME,
            "password": seeds.PASSWORD,
            "project_name": seeds.PROJECT,
            "user_domain_id": seeds.DOMAIN,
            "project_domain_id": seeds.DOMAIN,
        }

    def connect(self, **options: Any) -> "Connection":
        """A connection to it, closed with the cloud.

        :param options: for ``openstack.connect``
        """
        import openstack

        connection = openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth=self.credentials,
            region_name=seeds.REGION,
            **options,
        )
        self._connections.append(connection)
        return connection

    def write_clouds_yaml(self, path: str | Path) -> Path:
        """Write a clouds.yaml with one cloud, "loopback".

        :returns: the path
        """
        cloud = {"auth": self.credentials, "region_name": seeds.REGION}
        written = Path(path)
        # It has a password, though a known one; poolmgr warns of such files
        # that everybody can read.
        written.touch(mode=0o600)
        # JSON is YAML, too.
        written.write_text(json.dumps({"clouds": {CLOUD: cloud}}, indent=2))
        return written

    # -- faults and the record ----------------------------------------------

    def fault(self, fault: Fault) -> None:
        """Put a fault in force."""
        self._faults.add(fault)

    def clear_faults(self) -> None:
        """Lift all faults."""
        self._faults.clear()

    @property
    def calls(self) -> list[Call]:
        """Every call since the start or :meth:`forget_calls`."""
        return self._record.calls()

    def count(
        self,
        method: str | None = None,
        service: str | None = None,
        path: str | None = None,
    ) -> int:
        """How many calls there were.

        :param method: only with this method
        :param service: only to this service
        :param path: only to paths that this regular expression matches, as
            a whole
        """
        return self._record.count(method, service, path)

    def forget_calls(self) -> None:
        """Empty the record."""
        self._record.forget()

    # -- what is in it ------------------------------------------------------

    @property
    def servers(self) -> list[Json]:
        """The servers, the oldest first, each as Nova shows it."""
        with self._state.settled():
            texts = [server.text for server in self._state.servers.values()]
        return [json.loads(text) for text in texts]

    @property
    def ports(self) -> list[Json]:
        """The ports, the oldest first, each as Neutron shows it."""
        with self._state.settled():
            return deepcopy([p.shown() for p in self._state.ports.values()])

    @property
    def floating_ips(self) -> list[Json]:
        """The floating IPs, the oldest first, each as Neutron shows it."""
        with self._state.settled():
            ips = self._state.floating_ips.values()
            return deepcopy([ip.shown() for ip in ips])

    @property
    def ids(self) -> dict[str, str]:
        """Ids by name of the flavors, images, networks and groups."""
        state = self._state
        named = {
            **state.flavors,
            **state.images,
            **state.security_groups,
            **state.server_groups,
            **{i: network.shown() for i, network in state.networks.items()},
        }
        return {each["name"]: id_ for id_, each in named.items()}

    # -- what befalls it ----------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let so much time pass at once for what is in it.

        Servers boot and go, and addresses show, as if it had been waited
        for; calls take, hang and are counted as before, and tokens live as
        long. So a test need not be quicker than a boot, nor wait for one.

        :param seconds: that pass besides those that pass anyway
        """
        with self._state.settled():
            self._state.advance(seconds)

    def fail_server(
        self, server_id: str, message: str = "The host went away."
    ) -> None:
        """Put a server into ERROR.

        :param message: of its fault
        :raises KeyError: there is no such server
        """
        with self._state.settled():
            self._server(server_id).fail(message)

    def remove_server(self, server_id: str) -> None:
        """Let a server vanish, as if somebody had deleted it.

        :raises KeyError: there is no such server
        """
        with self._state.settled():
            self._state.remove_server(self._server(server_id))

    def set_status(self, server_id: str, status: str) -> None:
        """Give a server another status, as "SHUTOFF".

        :raises KeyError: there is no such server
        """
        with self._state.settled():
            self._server(server_id).change(status=status, task_state=None)

    def replace(self, name: str) -> None:
        """Replace a flavor or an image by another of the same name.

        :raises KeyError: there is none of that name
        """
        with self._state.settled():
            self._state.replace(name)

    def set_quota(self, **quotas: int) -> None:
        """Change how many there may be.

        :param quotas: "instances", "floating_ips" and "ports"
        """
        with self._state.settled():
            changes: Any = quotas
            self.settings = replace(self.settings, **changes)
            self._state.settings = self.settings

    def expire_tokens(self) -> None:
        """Accept no token that was given out until now."""
        self._front.identity.expire()

    def _server(self, server_id: str) -> Server:
        return self._state.servers[server_id]


@pytest.fixture
def loopback_cloud(request: pytest.FixtureRequest) -> Iterator[LoopbackCloud]:
    """A loopback cloud for one test.

    Its settings can be given by ``@pytest.mark.parametrize("loopback_cloud",
    [{"boot_time": 0.5}], indirect=True)``.
    """
    with LoopbackCloud(**getattr(request, "param", {})) as cloud:
        yield cloud
