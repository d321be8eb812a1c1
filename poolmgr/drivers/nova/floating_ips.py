"""Neutron's floating IPs."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from poolmgr.cloud.lookups import parted
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.blueprint import Blueprint
from poolmgr.drivers.nova.calls import Call
from poolmgr.drivers.nova.entries import Entry, needed, objects, usable
from poolmgr.drivers.nova.failures import Refused, Unavailable, understood
from poolmgr.drivers.nova.lost import Creation
from poolmgr.drivers.nova.paths import checked_id, path_of
from poolmgr.drivers.turns import Turns
from poolmgr.errors import (
    Changed,
    CloudError,
    CloudRefused,
    DeadlineExceeded,
    before_creating,
)
from poolmgr.ownership import Mark
from poolmgr.waiting import Deadline

#: Addresses, or ports, in one question, so that its own address stays below
#: 8 KiB.
_ADDRESSES_A_CALL = 100
_PORTS_A_CALL = 100
# Neutron cannot be asked for what begins so or so, or for a port of null.
_UNATTACHED = {"status": "DOWN"}
#: Seconds in which one that cannot be deleted may go out of sight.
_LOOKS = 10.0
_IPS = "/floatingips"
_FIELDS = (
    "id",
    "floating_ip_address",
    "port_id",
    "port_details",
    "revision_number",
    "description",
    "created_at",
)
# A port whose network has no way to the external one; another may have.
_NO_WAY = "ExternalGatewayForFloatingIPNotFound"
_NO_PORT = "PortNotFound"
# What an address is attached to if Neutron does not tell: it is not free.
_UNKNOWN = "unknown"
# Neutron does not know the path: it runs without the extension "router".
_NO_ROUTERS = "HTTPNotFound"


@dataclass(frozen=True)
class FloatingIPs:
    """Calls about floating IPs.

    :ivar api: the cloud
    :ivar blueprint: knows the network they are taken from
    :ivar turns: whose turn it is to change one. Neutron compares revisions
        outside of the transaction that writes: of two who come within a
        millisecond both may pass. Those of one process do not come together;
        those of two are told by what they read back.
    """

    api: Api
    blueprint: Blueprint
    turns: Turns = field(default_factory=Turns)

    def create(
        self, mark: Mark, deadline: Deadline, device_id: str = ""
    ) -> FloatingIP:
        """Allocate one.

        :param device_id: the device it comes and goes with, if it does
        """
        description = marks.description_of(mark, device_id)
        with before_creating():
            deadline.check("allocating a floating IP")
            network = self.blueprint.external_network(deadline)
        try:
            return self._create_in(network, description, deadline)
        except Refused as error:
            if error.kind == _NO_ROUTERS:
                raise CloudRefused(
                    "the cloud has no floating IPs: Neutron runs without "
                    'its extension "router"'
                ) from None
            if error.status not in (400, 404):
                raise
            # The network may have been replaced by one of its name.
            self.blueprint.forget_external_network()
            again = self.blueprint.external_network(deadline)
            if again == network:
                raise
            return self._create_in(again, description, deadline)

    def all(self, deadline: Deadline) -> list[FloatingIP]:
        """Every floating IP of the project."""
        return self._listed({}, deadline)

    def at(
        self, addresses: Collection[str], deadline: Deadline
    ) -> Mapping[str, list[FloatingIP]]:
        """The floating IPs of these addresses, by address."""
        found = defaultdict(list)
        for some in parted(addresses, _ADDRESSES_A_CALL):
            query = {"floating_ip_address": some}
            for ip in self._listed(query, deadline):
                found[ip.address].append(ip)
        return found

    def of_jobs(
        self, uniques: Collection[str], deadline: Deadline
    ) -> Mapping[str, list[FloatingIP]]:
        """The floating IPs that were allocated for these jobs, by unique.

        Only those that are attached to nothing: whose client has one has its
        answer, too, and a big project has thousands of these.
        """
        found = defaultdict(list)
        for ip in self._listed(_UNATTACHED, deadline):
            for unique in uniques:
                if marks.is_of_unique(ip.mark, unique) and not ip.goes_with:
                    found[unique].append(ip)
        return found

    def of_device(
        self, device: Device, deadline: Deadline
    ) -> list[FloatingIP]:
        """Those that come and go with a device."""
        query = {"device_id": device.id, "fields": ["id"]}
        call = Call("GET", "network", "/ports", query)
        ports = list(
            usable(
                "ports",
                self.api.pages(call, deadline),
                lambda port: needed(port, "id"),
            )
        )
        found = self._listed(_UNATTACHED, deadline)
        if ports:
            found += self._listed({"port_id": ports}, deadline)
        by_id = {ip.id: ip for ip in found if ip.goes_with == device.id}
        return list(by_id.values())

    def mark(self, ip: FloatingIP, mark: Mark, deadline: Deadline) -> None:
        """Write another mark on one, if it is what we think it is."""
        device_id = ip.goes_with or ""
        change = {"description": marks.description_of(mark, device_id)}
        now = self._update(ip.id, change, deadline, ip.revision)
        if now.get("description") != change["description"]:
            raise Changed(f"floating IP {ip.address} was not marked")

    def attach(
        self, ip: FloatingIP, device: Device, deadline: Deadline
    ) -> None:
        """Attach one, wherever it was, if it is what we think it is."""
        error: CloudError | None = None
        for port_id, address in self._ports(device, deadline):
            change = {"port_id": port_id, "fixed_ip_address": address}
            try:
                self._update(ip.id, change, deadline, ip.revision)
                return
            except Refused as refused:
                if refused.kind == _NO_PORT:
                    # It went, or is not to be seen everywhere yet.
                    error = Unavailable(str(refused))
                elif refused.kind == _NO_WAY:
                    error = error or refused
                else:
                    raise
        raise error or CloudRefused(
            f"device {device.name!r} has no port with an IPv4 address"
        )

    def detach(self, ip: FloatingIP, deadline: Deadline) -> None:
        """Detach one, if it is what we think it is."""
        self._update(ip.id, {"port_id": None}, deadline, ip.revision)

    def delete(self, ip: FloatingIP, deadline: Deadline) -> None:
        """Give one back.

        :raises Unavailable: Neutron answers 404, and still lists it
        """
        call = Call("DELETE", "network", path_of(_IPS, ip.id))
        doing = f"deleting floating IP {ip.address}"
        missed = False
        looks = Deadline(min(_LOOKS, deadline.remaining()), deadline.stop)
        try:
            for _attempt in looks.retries(doing):
                try:
                    self.api.run(call, deadline)
                    return
                except Refused as error:
                    if error.status != 404:
                        raise
                if self._listed({"id": ip.id}, deadline):
                    missed = False
                elif missed:
                    return
                else:
                    missed = True  # a list can have holes
        except DeadlineExceeded:
            deadline.check(doing)
        raise Unavailable(
            f"Neutron answers 404 to the deletion of floating IP "
            f"{ip.address} and still lists it"
        )

    # -- inside -------------------------------------------------------------

    def _create_in(
        self, network: str, description: str, deadline: Deadline
    ) -> FloatingIP:
        wanted = {"floating_network_id": network, "description": description}
        body = {"floatingip": wanted}
        call = Call(
            "POST",
            "network",
            _IPS,
            body=body,
            expects="floatingip",
            once=True,
        )

        def post() -> FloatingIP:
            made = self.api.run(call, deadline)
            with understood(call):
                ip = _floating_ip(made["floatingip"], {})
                checked_id(ip.id)
            return ip

        def find() -> list[FloatingIP]:
            return self._listed({"description": description}, deadline)

        def discard(ip: FloatingIP) -> None:
            self.delete(ip, deadline)

        return Creation("a floating IP", post, find, discard).run(deadline)

    def _update(
        self,
        id_: str,
        change: Mapping[str, Any],
        deadline: Deadline,
        revision: int,
    ) -> dict[str, Any]:
        """Change one; what Neutron says that it is now."""
        # https://docs.openstack.org/api-ref/network/v2/#revisions
        headers = {"If-Match": f"revision_number={revision}"}
        body = {"floatingip": dict(change)}
        call = Call(
            "PUT",
            "network",
            path_of(_IPS, id_),
            body=body,
            headers=headers,
            expects="floatingip",
        )
        try:
            with self.turns.of(id_, deadline):
                answer = self.api.run(call, deadline)
            with understood(call):
                return dict(answer["floatingip"])
        except Refused as error:
            if error.status == 404 and error.kind == "FloatingIPNotFound":
                raise Changed(f"{error}") from None
            raise

    def _ports(
        self, device: Device, deadline: Deadline
    ) -> list[tuple[str, str]]:
        """Where a floating IP can go: ports and their IPv4 addresses.

        :raises Unavailable: Neutron shows no port with an address, yet
        """
        query = {"device_id": device.id, "fields": ["id", "fixed_ips"]}
        call = Call("GET", "network", "/ports", query)
        ports = usable("ports", self.api.pages(call, deadline), _addresses)
        every = [place for places in ports for place in places]
        if not every:
            raise Unavailable(
                f"Neutron shows no port with an address of device "
                f"{device.name!r}"
            )
        places = [place for place in every if ":" not in place[1]]
        # The device's own address first: it is of the network that was
        # asked for, and the others may not be reachable.
        return sorted(places, key=lambda place: place[1] != device.address)

    def _listed(
        self, query: Mapping[str, Any], deadline: Deadline
    ) -> list[FloatingIP]:
        # An administrator would be shown those of all projects.
        ours = {"project_id": self.api.project_id(deadline), "fields": _FIELDS}
        call = Call("GET", "network", _IPS, {**ours, **query})
        try:
            entries = objects(list(self.api.pages(call, deadline)))
        except Refused as error:
            if error.kind != _NO_ROUTERS:
                raise
            return []
        devices = self._devices_of_ports(entries, deadline)
        return list(
            usable(
                "floating IPs", entries, lambda ip: _floating_ip(ip, devices)
            )
        )

    def _devices_of_ports(
        self, entries: Iterable[Entry], deadline: Deadline
    ) -> Mapping[str, str]:
        """Ids of the servers, by their ports, that Neutron does not show.

        It does where the extension "fip-port-details" is enabled, mostly.
        """
        bare = {
            port_id
            for entry in entries
            if isinstance(port_id := entry.get("port_id"), str)
            and not _device_in(entry)
        }
        devices: dict[str, str] = {}
        for some in parted(bare, _PORTS_A_CALL):
            query = {"id": some, "fields": ["id", "device_id"]}
            call = Call("GET", "network", "/ports", query)
            ports = self.api.pages(call, deadline)
            devices.update(usable("ports", ports, _port_and_device))
        return devices


def _port_and_device(port: Entry) -> tuple[str, str]:
    return needed(port, "id"), needed(port, "device_id")


def _addresses(port: Entry) -> list[tuple[str, str]]:
    """A port's id with each of its addresses."""
    port_id = needed(port, "id")
    addresses = [f.get("ip_address") for f in objects(port.get("fixed_ips"))]
    return [(port_id, a) for a in addresses if isinstance(a, str)]


def _device_in(entry: Entry) -> str:
    """The id of the server that Neutron shows with a floating IP."""
    details = entry.get("port_details")
    shown = details.get("device_id") if isinstance(details, Mapping) else None
    return shown if isinstance(shown, str) else ""


def _floating_ip(entry: Entry, devices: Mapping[str, str]) -> FloatingIP:
    """A floating IP.

    :param devices: ids of servers by their ports, where Neutron shows none
    :raises ValueError: its id or its address is none
    """
    description = entry.get("description", marks.UNREADABLE)
    mark, goes_with = marks.mark_in_description(
        "" if description is None else description
    )
    port_id = entry.get("port_id", _UNKNOWN)
    device_id = None
    if port_id is not None:
        port_id = port_id if isinstance(port_id, str) else _UNKNOWN
        # A port that no server has is no device's, but not free either.
        device_id = _device_in(entry) or devices.get(port_id) or port_id
    revision = entry.get("revision_number")
    created = entry.get("created_at")
    return FloatingIP(
        id=needed(entry, "id"),
        address=str(ip_address(needed(entry, "floating_ip_address"))),
        device_id=device_id,
        # Without one Neutron refuses every change, by its 412.
        revision=revision if isinstance(revision, int) else 0,
        mark=mark,
        created=(
            created.replace("Z", "+00:00")
            if isinstance(created, str)
            else None
        ),
        goes_with=goes_with or None,
    )
