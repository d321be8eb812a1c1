"""The resources of the loopback cloud and their changes over time."""

import heapq
import itertools
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from poolmgr.testing.openstack import seeds
from poolmgr.testing.openstack.port import FloatingIP, Port
from poolmgr.testing.openstack.seeds import Exhausted, Json, now_text
from poolmgr.testing.openstack.server import Server
from poolmgr.testing.openstack.settings import CloudSettings


class Timeline:
    """Scheduled changes.

    No thread waits for them: :meth:`settle` makes the changes that are due,
    before the state is read or changed.
    """

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        #: Seconds by which its clock is ahead of the monotonic clock.
        self._ahead = 0.0
        #: The due time of the current change, by its clock.
        self.now = time.monotonic()

    def after(self, delay: float, change: Callable[[], None]) -> None:
        """Schedule a change.

        :param delay: seconds from the current change
        """
        item = (self.now + delay, next(self._order), change)
        heapq.heappush(self._due, item)

    def advance(self, seconds: float) -> None:
        """Put the clock forward."""
        self._ahead += seconds
        self.settle()

    def settle(self) -> None:
        """Make all changes that are due, each at its due time."""
        until = time.monotonic() + self._ahead
        while self._due and self._due[0][0] <= until:
            self.now, _order, change = heapq.heappop(self._due)
            change()
        self.now = until


class State:
    """All resources; read and change them inside :meth:`settled`.

    :ivar servers: the servers by id, the oldest first
    """

    def __init__(self, settings: CloudSettings) -> None:
        self.settings = settings
        self.networks = seeds.networks(settings)
        every = [each.subnets for each in self.networks.values()]
        self.subnets = {s.id: s for subnets in every for s in subnets}
        self.flavors = seeds.flavors()
        self.images = seeds.images()
        self.keypairs = seeds.keypairs()
        self.security_groups = seeds.security_groups()
        self.server_groups = seeds.server_groups()
        self.servers: dict[str, Server] = {}
        self.ports: dict[str, Port] = {}
        self.floating_ips: dict[str, FloatingIP] = {}
        self._ports_of: dict[str, list[Port]] = {}
        self._ip_on: dict[tuple[str, str], FloatingIP] = {}
        self._timeline = Timeline()
        # For boot times, not for secrets.
        self._chance = random.Random(settings.boot_seed)  # noqa: S311
        self._lock = threading.RLock()

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Lock the state and make the changes that are due."""
        with self._lock:
            self._timeline.settle()
            yield

    def advance(self, seconds: float) -> None:
        """Put the clock forward."""
        self._timeline.advance(seconds)

    def replace(self, name: str) -> None:
        """Give a flavor or image a new id.

        :raises KeyError: no flavor or image has the name
        """
        for resources in (self.flavors, self.images):
            for id_, resource in list(resources.items()):
                if resource["name"] == name:
                    del resources[id_]
                    new = str(uuid.uuid4())
                    resources[new] = {**resource, "id": new}
                    return
        raise KeyError(name)

    # -- servers ------------------------------------------------------------

    def add_server(self, server: Server) -> None:
        """Add a server and start to build it."""
        self.servers[server.id] = server
        spread = self.settings.boot_spread
        chance = self._chance.uniform(-spread, spread)
        boot = self.settings.boot_time + chance
        if not server.fate.stuck:
            self._timeline.after(max(0.0, boot), lambda: self._boot(server))
        if server.fate.vanish is not None:
            seconds = server.fate.vanish
            self._timeline.after(seconds, lambda: self.remove_server(server))

    def delete_server(self, server: Server) -> None:
        """Delete a server after its boot and the delete time."""
        if server.deleting:
            return
        server.change(deleting=True, task_state="deleting")
        if server.status != "BUILD" or server.fate.stuck:
            self._delete_later(server)

    def remove_server(self, server: Server) -> None:
        """Remove a server at once; its floating IPs stay."""
        if self.servers.pop(server.id, None) is None:
            return
        for port in self._ports_of.pop(server.id, []):
            for ip in self._ips_of(port):
                self.attach(ip, None, None)
            port.give_addresses()
            del self.ports[port.id]

    def _boot(self, server: Server) -> None:
        if server.id not in self.servers or server.status != "BUILD":
            return
        if server.deleting:
            self._delete_later(server)
            return
        if server.fate.error is not None:
            server.fail(server.fate.error)
            return
        try:
            if not server.fate.no_address:
                self._add_ports(server)
        except Exhausted as error:
            server.fail(
                f"Build of instance {server.id} aborted: Failed to allocate "
                f"the network(s) with error {error}, not rescheduling."
            )
            return
        server.change(
            status="ACTIVE",
            task_state=None,
            launched_at=now_text().replace("Z", ".000000"),
            availability_zone=_zone_of(server),
        )
        self._show_addresses_after(self.settings.address_delay, server.id)

    def _delete_later(self, server: Server) -> None:
        self._timeline.after(
            self.settings.delete_time, lambda: self._delete(server)
        )

    def _delete(self, server: Server) -> None:
        if self.settings.soft_delete and server.id in self.servers:
            server.change(status="SOFT_DELETED", task_state=None)
        else:
            self.remove_server(server)

    def _add_ports(self, server: Server) -> None:
        """Add a port on each network.

        :raises Exhausted: the quota or the addresses are used up
        """
        groups = [
            group_id
            for group_id, group in self.security_groups.items()
            if group["name"] in server.security_groups
        ]
        for network in server.networks:
            if len(self.ports) >= self.settings.ports:
                raise Exhausted("Maximum number of ports exceeded")
            port = Port(network, server.id, _zone_of(server), groups)
            port.take_addresses()
            self.ports[port.id] = port
            self._ports_of.setdefault(server.id, []).append(port)

    def _show_addresses_after(
        self, delay: float, server_id: str | None
    ) -> None:
        def show() -> None:
            server = self.servers.get(server_id or "")
            if server is not None:
                server.change(addresses=self._addresses_of(server.id))

        self._timeline.after(delay, show) if delay else show()

    def _addresses_of(self, server_id: str) -> Json:
        shown: Json = {}
        for port in self._ports_of.get(server_id, []):
            entries = shown.setdefault(port.network.name, [])
            for subnet, address in port.fixed_ips:
                entry = _entry(subnet.version, address, "fixed", port.mac)
                entries.append(entry)
            for ip in self._ips_of(port):
                entries.append(_entry(4, ip.address, "floating", port.mac))
        return shown

    # -- floating IPs -------------------------------------------------------

    def ip_on(self, port: Port, address: str) -> FloatingIP | None:
        """Return the floating IP that is attached to an address of a port."""
        return self._ip_on.get((port.id, address))

    def attach(
        self, ip: FloatingIP, port: Port | None, fixed_address: str | None
    ) -> None:
        """Attach a floating IP to an address of a port, or detach it.

        Its status changes after the status delay.
        """
        before = self._unlink(ip)
        if port is not None and fixed_address is not None:
            self._ip_on[port.id, fixed_address] = ip
        ip.change(port=port, fixed_address=fixed_address)
        delay = self.settings.status_delay
        self._timeline.after(delay, lambda: self._update_status(ip))
        for server_id in {before, port.server_id if port else None}:
            self._show_addresses_after(self.settings.floating_delay, server_id)

    def remove_floating_ip(self, ip: FloatingIP) -> None:
        """Remove a floating IP at once."""
        del self.floating_ips[ip.id]
        server_id = self._unlink(ip)
        ip.network.subnets[0].give(ip.address)
        self._show_addresses_after(self.settings.floating_delay, server_id)

    def _unlink(self, ip: FloatingIP) -> str | None:
        """Detach a floating IP; return the id of its server."""
        if ip.port is None or ip.fixed_address is None:
            return None
        del self._ip_on[ip.port.id, ip.fixed_address]
        return ip.port.server_id

    def _update_status(self, ip: FloatingIP) -> None:
        status = "DOWN" if ip.port is None else "ACTIVE"
        if ip.status != status:
            ip.change(status=status)

    def _ips_of(self, port: Port) -> list[FloatingIP]:
        found = (self.ip_on(port, address) for address in port.ipv4)
        return [ip for ip in found if ip is not None]


def _zone_of(server: Server) -> str:
    return server.pinned_zone or seeds.AVAILABILITY_ZONES[0]


def _entry(version: int, address: str, kind: str, mac: str) -> Json:
    return {
        "version": version,
        "addr": address,
        "OS-EXT-IPS:type": kind,
        "OS-EXT-IPS-MAC:mac_addr": mac,
    }
