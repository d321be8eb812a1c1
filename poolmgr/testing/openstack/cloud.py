"""The loopback cloud: OpenStack in this process, over real HTTP."""

import asyncio
import json
import threading
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from poolmgr.testing.openstack import seeds
from poolmgr.testing.openstack.fault import Fault, FaultRules
from poolmgr.testing.openstack.front import Front
from poolmgr.testing.openstack.record import Call, Record
from poolmgr.testing.openstack.server import Json, Server
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
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._error: OSError | None = None
        self._connections: list[Connection] = []

    # -- its life -----------------------------------------------------------

    def start(self) -> Self:
        """Begin to listen.

        :raises OSError: the address cannot be listened on
        """
        thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()),
            name="loopback-cloud",
            daemon=True,
        )
        thread.start()
        self._ready.wait()
        if self._error is not None:
            thread.join()
            raise self._error
        self._thread = thread
        return self

    def close(self) -> None:
        """Close every connection and end the thread."""
        while self._connections:
            connection = self._connections.pop()
            connection.session.session.close()
            connection.close()
        if self._thread is None or self._loop is None or self._stop is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.close()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        # Who hangs on a fault when the cloud closes is not waited for.
        server = web.Server(self._front, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(
            runner, self.settings.host, self.settings.port, backlog=1024
        )
        try:
            await site.start()
            host, port = runner.addresses[0][:2]
            self._front.url = f"http://{host}:{port}"
            self._ready.set()
            await self._stop.wait()
        except OSError as error:
            self._error = error
        finally:
            self._ready.set()
            await site.stop()
            # Who was let in a moment ago is known to the server only then.
            await asyncio.sleep(0.01)
            transports = [each.transport for each in server.connections]
            await runner.cleanup()
            for transport in transports:
                # Closing alone waits for a reader who may not read.
                if transport is not None:
                    transport.abort()
            await asyncio.sleep(0)

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
            url = f"{self.url}/compute"
            texts = [s.text(url) for s in self._state.servers.values()]
        return [json.loads(text) for text in texts]

    @property
    def ports(self) -> list[Json]:
        """The ports, the oldest first, each as Neutron shows it."""
        with self._state.settled():
            shown = [port.shown() for port in self._state.ports.values()]
            return deepcopy(shown)

    @property
    def floating_ips(self) -> list[Json]:
        """The floating IPs, the oldest first, each as Neutron shows it."""
        with self._state.settled():
            shown = [ip.shown() for ip in self._state.floating_ips.values()]
            return deepcopy(shown)

    @property
    def ids(self) -> dict[str, str]:
        """Ids by name of the flavors, images, networks and groups."""
        state = self._state
        named = [*state.flavors.values(), *state.images.values()]
        groups = [
            *state.security_groups.values(),
            *state.server_groups.values(),
        ]
        networks = [network.shown() for network in state.networks.values()]
        return {each["name"]: each["id"] for each in named + groups + networks}

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

    def set_quota(
        self,
        instances: int | None = None,
        floating_ips: int | None = None,
        ports: int | None = None,
    ) -> None:
        """Change how many there may be; None leaves it as it is."""
        with self._state.settled():
            now = self.settings
            self.settings = self._state.settings = replace(
                now,
                instances=now.instances if instances is None else instances,
                floating_ips=(
                    now.floating_ips if floating_ips is None else floating_ips
                ),
                ports=now.ports if ports is None else ports,
            )

    def expire_tokens(self) -> None:
        """Accept no token that was given out until now."""
        self._front.identity.expire()

    def _server(self, server_id: str) -> Server:
        return self._state.servers[server_id]
