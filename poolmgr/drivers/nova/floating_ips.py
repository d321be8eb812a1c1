"""Neutron's floating IPs."""

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from poolmgr import errors
from poolmgr.drivers.base import Device, Driver, FloatingIP
from poolmgr.drivers.nova import marks, shown
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.calls import Call, object_field, path_of, text
from poolmgr.drivers.nova.failures import NotSent, Refused
from poolmgr.drivers.nova.parts import FLOATING_NETWORK, Parts
from poolmgr.drivers.nova.servers import parted
from poolmgr.drivers.nova.services import Services
from poolmgr.ownership import Mark

# Neutron cannot be asked for what begins so or so, or for a port of null.
_UNATTACHED = {"status": "DOWN"}
_IPS = "/floatingips"
# A port whose network has no way to the external one; another may have.
_NO_WAY = "ExternalGatewayForFloatingIPNotFound"
_NO_PORT = "PortNotFound"
# Neutron does not know the path: it runs without the extension "router".
_NO_ROUTERS = "HTTPNotFound"
# Changes of one floating IP take turns: by its id, each has one of these.
_TURNS = [threading.Lock() for _turn in range(64)]


class FloatingIPs(Driver):
    """The verbs of a driver that are about floating IPs.

    :ivar services: the cloud's
    :ivar parts: has the network that they are taken from
    """

    services: Services
    parts: Parts

    def create_ip(self, mark: Mark, timeout: float) -> FloatingIP:
        """See :meth:`Driver.create_ip`."""
        return self.allocate(marks.description_of(mark), timeout)

    def list_ips(self, timeout: float) -> list[FloatingIP]:
        """See :meth:`Driver.list_ips`."""
        return self._ips(Api(self.services, timeout), {})

    def find_ips(
        self, addresses: Collection[str], timeout: float
    ) -> list[FloatingIP]:
        """See :meth:`Driver.find_ips`."""
        api = Api(self.services, timeout)
        found = []
        for some in parted(addresses):
            found += self._ips(api, {"floating_ip_address": some})
        return found

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
            for ip in self._ips(Api(self.services, timeout), _UNATTACHED)
            if ip.mark and ip.mark.unique in wanted and not ip.goes_with
        ]

    def mark_ip(self, ip: FloatingIP, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_ip`."""
        description = marks.description_of(mark, ip.goes_with or "")
        api = Api(self.services, timeout)
        now = self._update(api, ip, {"description": description})
        if now.get("description") != description:
            raise errors.Changed(f"floating IP {ip.address} was not marked")

    def attach_ip(
        self, ip: FloatingIP, device: Device, timeout: float
    ) -> None:
        """See :meth:`Driver.attach_ip`."""
        api = Api(self.services, timeout)
        places = [
            (port.id, address)
            for port in self._ports_of(api, device)
            for address in shown.addresses_of(port)
        ]
        # The device's own address first: it is of the network that was
        # asked for, and the others may not be reachable.
        places.sort(key=lambda place: place[1] != device.address)
        error: errors.CloudError = errors.CloudUnavailable(
            f"Neutron shows no port with an IPv4 address of device "
            f"{device.name!r}"
        )
        for port_id, address in places:
            try:
                change = {"port_id": port_id, "fixed_ip_address": address}
                self._update(api, ip, change)
                return
            except Refused as refused:
                if refused.kind == _NO_PORT:
                    # It went, or is not to be seen everywhere yet.
                    error = errors.CloudUnavailable(str(refused))
                elif refused.kind == _NO_WAY:
                    error = refused
                else:
                    raise
        raise error

    def detach_ip(self, ip: FloatingIP, timeout: float) -> None:
        """See :meth:`Driver.detach_ip`."""
        self._update(Api(self.services, timeout), ip, {"port_id": None})

    def delete_ip(self, ip: FloatingIP, timeout: float) -> bool:
        """See :meth:`Driver.delete_ip`."""
        call = Call("DELETE", "network", path_of(_IPS, ip.id))
        return Api(self.services, timeout).run_if_there(call) is not None

    def allocate(self, description: str, timeout: float) -> FloatingIP:
        """Allocate one.

        :param description: its mark
        """
        api = Api(self.services, timeout)

        def create(found: Mapping[str, Any]) -> FloatingIP:
            network = found[FLOATING_NETWORK]
            new = {"floating_network_id": network, "description": description}
            call = Call("POST", "network", _IPS, body={"floatingip": new})
            ip = shown.floating_ip_of(api.create(call, shown.ShownIP), {})
            if ip is None:
                raise errors.OutcomeUnknown(f"the answer to {call} is odd")
            return ip

        return self.parts.use([FLOATING_NETWORK], timeout, create)

    def ips_of_device(
        self, device: Device, timeout: float
    ) -> list[FloatingIP]:
        """Those that come and go with a device."""
        api = Api(self.services, timeout)
        ports = [port.id for port in self._ports_of(api, device)]
        found = self._ips(api, _UNATTACHED)
        if ports:
            found += self._ips(api, {"port_id": ports})
        by_id = {ip.id: ip for ip in found if ip.goes_with == device.id}
        return list(by_id.values())

    # -- inside -------------------------------------------------------------

    def _update(
        self, api: Api, ip: FloatingIP, change: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Change one; what Neutron says that it is now.

        Neutron compares revisions outside of the transaction that writes: of
        two who come within a millisecond both may pass.  Those of one process
        do not come together; those of two find out by what they read back.

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
        turn = _TURNS[hash(ip.id) % len(_TURNS)]
        if not turn.acquire(timeout=api.timeout):
            raise NotSent(f"{call}: another change of it takes too long")
        try:
            return object_field(api.run(call), "floatingip")
        except Refused as error:
            if error.status == 404 and error.kind == "FloatingIPNotFound":
                raise errors.Changed(f"{error}") from None
            raise
        finally:
            turn.release()

    def _ports_of(self, api: Api, device: Device) -> list[shown.Port]:
        """A device's ports."""
        query = {"device_id": device.id, "fields": ["id", "fixed_ips"]}
        return api.read_list(
            Call("GET", "network", "/ports", query), shown.Port
        )

    def _ips(self, api: Api, query: Mapping[str, Any]) -> list[FloatingIP]:
        # An administrator would be shown those of all projects.
        ours = {
            "project_id": api.project_id(),
            "fields": list(shown.ShownIP.__struct_fields__),
        }
        call = Call("GET", "network", _IPS, {**ours, **query})
        try:
            entries = api.read_list(call, shown.ShownIP)
        except Refused as error:
            if error.kind != _NO_ROUTERS:
                raise
            return []
        devices = self._devices_of_ports(api, entries)
        found = [shown.floating_ip_of(each, devices) for each in entries]
        return [ip for ip in found if ip is not None]

    def _devices_of_ports(
        self, api: Api, entries: Iterable[shown.ShownIP]
    ) -> dict[str, str]:
        """Ids of the servers, by their ports, that Neutron does not show.

        It does where the extension "fip-port-details" is enabled, mostly.
        """
        bare = {
            text(entry.port_id) for entry in entries if not entry.shown_device
        }
        devices: dict[str, str] = {}
        for some in parted(bare - {""}):
            query = {"id": some, "fields": ["id", "device_id"]}
            call = Call("GET", "network", "/ports", query)
            ports = api.read_list(call, shown.Port)
            devices |= {port.id: text(port.device_id) for port in ports}
        return devices
