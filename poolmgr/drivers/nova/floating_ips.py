"""Neutron's floating IPs."""

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from poolmgr.drivers.base import Device, Driver, FloatingIP
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.calls import (
    Call,
    checked_id,
    decoded,
    object_field,
    path_of,
)
from poolmgr.drivers.nova.entries import read_entries
from poolmgr.drivers.nova.failures import Refused, understood
from poolmgr.drivers.nova.ips import (
    UNKNOWN,
    Port,
    ShownIP,
    device_of_port,
    floating_ip_of,
    places_of,
)
from poolmgr.drivers.nova.limits import bounded, holding
from poolmgr.drivers.nova.servers import parted
from poolmgr.drivers.nova.template import Remembered
from poolmgr.errors import (
    Changed,
    CloudError,
    CloudRefused,
    CloudUnavailable,
)
from poolmgr.ownership import Mark

#: Addresses, or ports, in one question, so that its own address stays below
#: 8 KiB.
ADDRESSES_A_CALL = 100
PORTS_A_CALL = 100
# Neutron cannot be asked for what begins so or so, or for a port of null.
_UNATTACHED = {"status": "DOWN"}
_IPS = "/floatingips"
# One of these is held while a floating IP is changed.
_CHANGING = tuple(threading.Lock() for _lock in range(64))
# A port whose network has no way to the external one; another may have.
_NO_WAY = "ExternalGatewayForFloatingIPNotFound"
_NO_PORT = "PortNotFound"
# Neutron does not know the path: it runs without the extension "router".
_NO_ROUTERS = "HTTPNotFound"


class FloatingIPs(Driver):
    """The verbs of a driver that are about floating IPs.

    :ivar api: the cloud
    :ivar external_network: id of the network they are taken from
    """

    api: Api
    external_network: Remembered[str]

    @bounded
    def create_ip(self, mark: Mark, timeout: float) -> FloatingIP:
        """See :meth:`Driver.create_ip`."""
        return self.allocate(mark)

    @bounded
    def list_ips(self, timeout: float) -> list[FloatingIP]:
        """See :meth:`Driver.list_ips`."""
        return self._ips({})

    @bounded
    def find_ips(
        self, addresses: Collection[str], timeout: float
    ) -> list[FloatingIP]:
        """See :meth:`Driver.find_ips`."""
        return self.ips_at(addresses)

    @bounded
    def ips_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> list[FloatingIP]:
        """See :meth:`Driver.ips_of_jobs`.

        Only those that are attached to nothing: whose client has one has its
        answer, too, and a big project has thousands of these.
        """
        # What stands for a unique that is too long is read as that unique.
        wanted = {marks.digest_of(unique): unique for unique in uniques}
        wanted |= {unique: unique for unique in uniques}
        return [
            replace(ip, mark=replace(ip.mark, unique=wanted[ip.mark.unique]))
            for ip in self._ips(_UNATTACHED)
            if ip.mark and ip.mark.unique in wanted and not ip.goes_with
        ]

    @bounded
    def mark_ip(self, ip: FloatingIP, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_ip`."""
        description = marks.description_of(mark, ip.goes_with or "")
        now = self._update(ip, {"description": description})
        if now.get("description") != description:
            raise Changed(f"floating IP {ip.address} was not marked")

    @bounded
    def attach_ip(
        self, ip: FloatingIP, device: Device, timeout: float
    ) -> None:
        """See :meth:`Driver.attach_ip`."""
        self.attach(ip, device)

    @bounded
    def detach_ip(self, ip: FloatingIP, timeout: float) -> None:
        """See :meth:`Driver.detach_ip`."""
        self._update(ip, {"port_id": None})

    @bounded
    def delete_ip(self, ip: FloatingIP, timeout: float) -> bool:
        """See :meth:`Driver.delete_ip`."""
        return self.release(ip)

    def allocate(self, mark: Mark, device_id: str = "") -> FloatingIP:
        """Allocate one.

        :param device_id: the device it comes and goes with, if it does
        """
        description = marks.description_of(mark, device_id)
        try:
            return self.external_network.use(
                lambda network: self._create_in(network, description)
            )
        except Refused as error:
            if error.kind != _NO_ROUTERS:
                raise
            raise CloudRefused(
                "the cloud has no floating IPs: Neutron runs without its "
                'extension "router"'
            ) from None

    def ips_at(self, addresses: Collection[str]) -> list[FloatingIP]:
        """The floating IPs of these addresses."""
        found = []
        for some in parted(addresses, ADDRESSES_A_CALL):
            found += self._ips({"floating_ip_address": some})
        return found

    def ips_made_with(self, mark: Mark) -> list[FloatingIP]:
        """The floating IPs that were allocated with this mark."""
        return self._ips({"description": marks.description_of(mark)})

    def ips_of_device(self, device: Device) -> list[FloatingIP]:
        """Those that come and go with a device."""
        ports = [port.id for port in self._ports_of(device)]
        found = self._ips(_UNATTACHED)
        if ports:
            found += self._ips({"port_id": ports})
        by_id = {ip.id: ip for ip in found if ip.goes_with == device.id}
        return list(by_id.values())

    def attach(self, ip: FloatingIP, device: Device) -> None:
        """Attach one, wherever it was, if it is what we think it is."""
        every = read_entries("ports", self._ports_of(device), places_of)
        places = [place for of_port in every for place in of_port]
        if not places:
            raise CloudUnavailable(
                f"Neutron shows no port with an address of device "
                f"{device.name!r}"
            )
        # The device's own address first: it is of the network that was
        # asked for, and the others may not be reachable.
        places.sort(key=lambda place: place[1] != device.address)
        error: CloudError | None = None
        for port_id, address in places:
            if ":" in address:
                continue
            try:
                change = {"port_id": port_id, "fixed_ip_address": address}
                self._update(ip, change)
                return
            except Refused as refused:
                if refused.kind == _NO_PORT:
                    # It went, or is not to be seen everywhere yet.
                    error = CloudUnavailable(str(refused))
                elif refused.kind == _NO_WAY:
                    error = error or refused
                else:
                    raise
        raise error or CloudRefused(
            f"device {device.name!r} has no port with an IPv4 address"
        )

    def release(self, ip: FloatingIP) -> bool:
        """Give one back; whether Neutron has had it."""
        call = Call("DELETE", "network", path_of(_IPS, ip.id))
        return self.api.run_if_there(call) is not None

    # -- inside -------------------------------------------------------------

    def _create_in(self, network: str, description: str) -> FloatingIP:
        wanted = {"floating_network_id": network, "description": description}
        call = Call(
            "POST",
            "network",
            _IPS,
            body={"floatingip": wanted},
            expects="floatingip",
            creates=True,
        )
        answer = self.api.run(call)
        with understood(call, creates=True):
            ip = floating_ip_of(decoded(answer["floatingip"], ShownIP), {})
            checked_id(ip.id)
        return ip

    def _update(
        self, ip: FloatingIP, change: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Change one; what Neutron says that it is now.

        Neutron compares revisions outside of the transaction that writes: of
        two who come within a millisecond both may pass. Those of one process
        do not come together; those of two are told by what they read back.

        :raises Changed: it is not what we think it is
        """
        # https://docs.openstack.org/api-ref/network/v2/#revisions
        call = Call(
            "PUT",
            "network",
            path_of(_IPS, ip.id),
            body={"floatingip": dict(change)},
            headers={"If-Match": f"revision_number={ip.revision}"},
            expects="floatingip",
        )
        lock = _CHANGING[hash(ip.id) % len(_CHANGING)]
        try:
            with holding(lock, f"changing floating IP {ip.address}"):
                return object_field(self.api.run(call), "floatingip")
        except Refused as error:
            if error.status == 404 and error.kind == "FloatingIPNotFound":
                raise Changed(f"{error}") from None
            raise

    def _ports_of(self, device: Device) -> list[Port]:
        """A device's ports."""
        query = {"device_id": device.id, "fields": ["id", "fixed_ips"]}
        return self.api.read_list(
            Call("GET", "network", "/ports", query), Port
        )

    def _ips(self, query: Mapping[str, Any]) -> list[FloatingIP]:
        # An administrator would be shown those of all projects.
        ours = {
            "project_id": self.api.project_id(),
            "fields": list(ShownIP.__struct_fields__),
        }
        call = Call("GET", "network", _IPS, {**ours, **query})
        try:
            entries = self.api.read_list(call, ShownIP)
        except Refused as error:
            if error.kind != _NO_ROUTERS:
                raise
            return []
        read = partial(floating_ip_of, devices=self._devices_of_ports(entries))
        return list(read_entries("floating IPs", entries, read))

    def _devices_of_ports(self, entries: Iterable[ShownIP]) -> dict[str, str]:
        """Ids of the servers, by their ports, that Neutron does not show.

        It does where the extension "fip-port-details" is enabled, mostly.
        """
        bare = {
            entry.port_id
            for entry in entries
            if isinstance(entry.port_id, str)
            and entry.port_id != UNKNOWN
            and not entry.shown_device
        }
        devices: dict[str, str] = {}
        for some in parted(bare, PORTS_A_CALL):
            query = {"id": some, "fields": ["id", "device_id"]}
            call = Call("GET", "network", "/ports", query)
            ports = self.api.read_list(call, Port)
            devices.update(read_entries("ports", ports, device_of_port))
        return devices
