"""The loopback cloud: an OpenStack in this process, over real HTTP."""

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

#: The name of the cloud in the clouds.yaml file.
CLOUD = "loopback"


class LoopbackCloud:
    """An OpenStack that listens on a port and runs in a thread.

    .. code-block:: python

       with LoopbackCloud(boot_time=0.2) as cloud:
           cloud.connect().compute.get("/servers/detail")

    All methods can be called from any thread.

    :param settings: the settings; None for the defaults
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

    # -- start and end ------------------------------------------------------

    def start(self) -> Self:
        """Start to listen.

        :raises OSError: the address cannot be listened on
        """
        self._front.url = self._listener.start(
            self.settings.host, self.settings.port
        )
        return self

    def close(self) -> None:
        """Close all connections and end the thread."""
        while self._connections:
            connection = self._connections.pop()
            connection.session.session.close()
            connection.close()
        self._listener.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # -- connecting ---------------------------------------------------------

    @property
    def url(self) -> str:
        """The URL of the cloud, without a slash at the end."""
        return self._front.url

    @property
    def auth_url(self) -> str:
        """The URL of Keystone."""
        return f"{self.url}/identity/v3"

    @property
    def credentials(self) -> dict[str, str]:
        """The argument of ``openstack.connect(auth=...)``."""
        return {
            "auth_url": self.auth_url,
            "username": seeds.USERNAME,
            "password": seeds.PASSWORD,
            "project_name": seeds.PROJECT,
            "user_domain_id": seeds.DOMAIN,
            "project_domain_id": seeds.DOMAIN,
        }

    def connect(self, **options: Any) -> "Connection":
        """Return a connection of openstacksdk, which is closed with the cloud.

        :param options: more arguments of ``openstack.connect``
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
        """Write a clouds.yaml file with one cloud, "loopback".

        :returns: the path
        """
        cloud = {"auth": self.credentials, "region_name": seeds.REGION}
        file = Path(path)
        # poolmgr warns if other users can read a file with a password.
        file.touch(mode=0o600)
        # JSON is valid YAML.
        file.write_text(json.dumps({"clouds": {CLOUD: cloud}}, indent=2))
        return file

    # -- faults and the record ----------------------------------------------

    def fault(self, fault: Fault) -> None:
        """Add a fault."""
        self._faults.add(fault)

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    @property
    def calls(self) -> list[Call]:
        """All calls since the start or :meth:`forget_calls`."""
        return self._record.calls()

    def count(
        self,
        method: str | None = None,
        service: str | None = None,
        path: str | None = None,
    ) -> int:
        """Return the number of calls.

        :param method: count only calls with this HTTP method
        :param service: count only calls to this service
        :param path: count only calls whose path this regular expression
            matches completely
        """
        return self._record.count(method, service, path)

    def forget_calls(self) -> None:
        """Clear the record of calls."""
        self._record.forget()

    # -- resources ----------------------------------------------------------

    @property
    def servers(self) -> list[Json]:
        """The servers in Nova's JSON, the oldest first."""
        with self._state.settled():
            texts = [server.text for server in self._state.servers.values()]
        return [json.loads(text) for text in texts]

    @property
    def ports(self) -> list[Json]:
        """The ports in Neutron's JSON, the oldest first."""
        with self._state.settled():
            return deepcopy([p.shown() for p in self._state.ports.values()])

    @property
    def floating_ips(self) -> list[Json]:
        """The floating IPs in Neutron's JSON, the oldest first."""
        with self._state.settled():
            ips = self._state.floating_ips.values()
            return deepcopy([ip.shown() for ip in ips])

    @property
    def ids(self) -> dict[str, str]:
        """The ids of flavors, images, networks and groups, by name."""
        state = self._state
        named = {
            **state.flavors,
            **state.images,
            **state.security_groups,
            **state.server_groups,
            **{i: network.shown() for i, network in state.networks.items()},
        }
        return {each["name"]: id_ for id_, each in named.items()}

    # -- changes ------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass for the resources, so that tests need not wait.

        Servers boot and disappear, and addresses appear, as if the test had
        waited. Latency, hanging calls, rate limits and the lifetime of tokens
        are not affected.

        :param seconds: the time, added to the real time
        """
        with self._state.settled():
            self._state.advance(seconds)

    def fail_server(
        self, server_id: str, message: str = "The host went away."
    ) -> None:
        """Set a server's status to ERROR.

        :param message: the message of its fault
        :raises KeyError: there is no such server
        """
        with self._state.settled():
            self._server(server_id).fail(message)

    def remove_server(self, server_id: str) -> None:
        """Remove a server at once.

        :raises KeyError: there is no such server
        """
        with self._state.settled():
            self._state.remove_server(self._server(server_id))

    def set_status(self, server_id: str, status: str) -> None:
        """Change a server's status, for example to "SHUTOFF".

        :raises KeyError: there is no such server
        """
        with self._state.settled():
            self._server(server_id).change(status=status, task_state=None)

    def replace(self, name: str) -> None:
        """Replace a flavor or image by another one of the same name.

        :raises KeyError: no flavor or image has the name
        """
        with self._state.settled():
            self._state.replace(name)

    def set_quota(self, **quotas: int) -> None:
        """Change quotas.

        :param quotas: ``instances``, ``floating_ips`` and ``ports``
        """
        with self._state.settled():
            changes: Any = quotas
            self.settings = replace(self.settings, **changes)
            self._state.settings = self.settings

    def expire_tokens(self) -> None:
        """Invalidate all tokens."""
        self._front.identity.expire()

    def _server(self, server_id: str) -> Server:
        return self._state.servers[server_id]


@pytest.fixture
def loopback_cloud(request: pytest.FixtureRequest) -> Iterator[LoopbackCloud]:
    """A loopback cloud for one test.

    To change its settings, use ``@pytest.mark.parametrize("loopback_cloud",
    [{"boot_time": 0.5}], indirect=True)``.
    """
    with LoopbackCloud(**getattr(request, "param", {})) as cloud:
        yield cloud
