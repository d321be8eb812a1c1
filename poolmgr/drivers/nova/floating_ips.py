"""Neutron's floating IPs."""

import threading
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from poolmgr import errors
from poolmgr.drivers.base import Device, Driver, FloatingIP
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.api import Api, Entry, objects, path_of, text
from poolmgr.drivers.nova.calls import Call, Refused
from poolmgr.drivers.nova.parts import FLOATING_NETWORK, Parts
from poolmgr.drivers.nova.servers import parted
from poolmgr.ownership import Mark

# Neutron cannot be asked for what begins so or so, or for a port of null.
_UNATTACHED = {"status": "DOWN"}
_IPS = "/floatingips"
# A port whose network has no way to the external one; another may have.
_NO_WAY = "ExternalGatewayForFloatingIPNotFound"
_NO_PORT = "PortNotFound"
# Neutron does not know the path: it runs without the extension "router".
_NO_ROUTERS = "HTTPNotFound"
#: What an address is attached to if Neutron does not tell: it is not free.
_UNKNOWN = "unknown"
# Changes of one floating IP take turns: by its id, each has one of these.
_TURNS = [threading.Lock() for _turn in range(64)]


class _IP(Entry, gc=False):
    """What is read of a floating IP.

    https://docs.openstack.org/api-ref/network/v2/#list-floating-ips
    """

    floating_ip_address: str
    port_id: Any = _UNKNOWN
    port_details: Any = None
    revision_number: Any = None
    description: Any = marks.UNREADABLE
    created_at: Any = None

    @property
    def shown_device(self) -> str:
        """The id of the server that Neutron shows with it.

        It does where the extension "fip-port-details" is enabled, mostly.
        """
        details = self.port_details
        known = isinstance(details, Mapping) and details.get("device_id")
        return text(known)


class _Port(Entry, gc=False):
    """What is read of a port."""

    device_id: Any = None
    fixed_ips: Any = None


class FloatingIPs(Driver):
    """The verbs of a driver that are about floating IPs.

    :ivar api: the cloud's services
    :ivar parts: has the network that they are taken from
    """

    api: Api
    parts: Parts

    def create_ip(self, mark: Mark, timeout: float) -> FloatingIP:
        """See :meth:`Driver.create_ip`."""
        return self.allocate(marks.description_of(mark), timeout)

    def list_ips(self, timeout: float) -> list[FloatingIP]:
        """See :meth:`Driver.list_ips`."""
        return self._ips([{}], timeout)

    def find_ips(
        self, addresses: Collection[str], timeout: float
    ) -> list[FloatingIP]:
        """See :meth:`Driver.find_ips`."""
        queries = [{"floating_ip_address": some} for some in parted(addresses)]
        return self._ips(queries, timeout)

    def ips_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> list[FloatingIP]:
        """See :meth:`Driver.ips_of_jobs`.

        Only those that are attached to nothing: whose client has one has its
        answer, too, and a big project has thousands of these.
        """
        found = self._ips([_UNATTACHED], timeout)
        ours = [ip for ip in found if ip.mark and ip.mark.unique in uniques]
        return [ip for ip in ours if not ip.goes_with]

    def mark_ip(self, ip: FloatingIP, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_ip`."""
        description = marks.description_of(mark, ip.goes_with or "")
        now = self._update(ip, {"description": description}, timeout)
        if now.get("description") != description:
            raise errors.Changed(f"floating IP {ip.address} was not marked")

    def attach_ip(
        self, ip: FloatingIP, device: Device, timeout: float
    ) -> None:
        """See :meth:`Driver.attach_ip`."""
        places = [
            {"port_id": port.id, "fixed_ip_address": address}
            for port in self._ports_of(device, timeout)
            for fixed in objects(port.fixed_ips)
            if "." in (address := text(fixed.get("ip_address")))
        ]
        # The device's own address first: it is of the network that was
        # asked for, and the others may not be reachable.
        places.sort(
            key=lambda place: place["fixed_ip_address"] != device.address
        )
        error: errors.CloudError = errors.CloudUnavailable(
            f"Neutron shows no port with an IPv4 address of device "
            f"{device.name!r}"
        )
        for place in places:
            try:
                self._update(ip, place, timeout)
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
        self._update(ip, {"port_id": None}, timeout)

    def delete_ip(self, ip: FloatingIP, timeout: float) -> bool:
        """See :meth:`Driver.delete_ip`."""
        call = Call("DELETE", "network", path_of(_IPS, ip.id))
        return self.api.exists(call, timeout)

    def allocate(self, description: str, timeout: float) -> FloatingIP:
        """Allocate one.

        :param description: its mark
        """
        parts = self.parts.get([FLOATING_NETWORK], timeout)
        try:
            return self._create_ip(parts, description, timeout)
        except Refused as error:
            parts = self.parts.get_again(parts, error, timeout)
            return self._create_ip(parts, description, timeout)

    def ips_of_device(
        self, device: Device, timeout: float
    ) -> list[FloatingIP]:
        """Those that come and go with a device."""
        queries: list[Mapping[str, Any]] = [_UNATTACHED]
        if ports := [port.id for port in self._ports_of(device, timeout)]:
            queries.append({"port_id": ports})
        found = self._ips(queries, timeout)
        by_id = {ip.id: ip for ip in found if ip.goes_with == device.id}
        return list(by_id.values())

    # -- inside -------------------------------------------------------------

    def _create_ip(
        self, parts: Mapping[str, Any], description: str, timeout: float
    ) -> FloatingIP:
        new = {
            "floating_network_id": parts[FLOATING_NETWORK],
            "description": description,
        }
        call = Call("POST", "network", _IPS, body={"floatingip": new})
        return _ip_of(self.api.create(call, _IP, timeout), {})

    def _update(
        self, ip: FloatingIP, change: Mapping[str, Any], timeout: float
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
            body={"floatingip": change},
            headers={"If-Match": f"revision_number={ip.revision}"},
            expects="floatingip",
        )
        turn = _TURNS[hash(ip.id) % len(_TURNS)]
        if not turn.acquire(timeout=timeout):
            raise errors.CloudUnavailable(
                f"{call}: waits for another change of it"
            )
        try:
            return self.api.read(call, dict[str, Any], timeout)
        except Refused as error:
            if error.status == 404 and error.kind == "FloatingIPNotFound":
                raise errors.Changed(f"{error}") from None
            raise
        finally:
            turn.release()

    def _ports_of(self, device: Device, timeout: float) -> list[_Port]:
        query = {"device_id": device.id, "fields": ["id", "fixed_ips"]}
        return self._ports(query, timeout)

    def _ports(self, query: Mapping[str, Any], timeout: float) -> list[_Port]:
        call = Call("GET", "network", "/ports", query)
        return self.api.read_list(call, _Port, timeout)

    def _ips(
        self, queries: Iterable[Mapping[str, Any]], timeout: float
    ) -> list[FloatingIP]:
        # An administrator would be shown those of all projects.
        ours = {
            "project_id": self.api.project_id(timeout),
            "fields": list(_IP.__struct_fields__),
        }
        entries: list[_IP] = []
        for query in queries:
            call = Call("GET", "network", _IPS, {**ours, **query})
            try:
                entries += self.api.read_list(call, _IP, timeout)
            except Refused as error:
                if error.kind != _NO_ROUTERS:
                    raise
        bare = {text(e.port_id) for e in entries if not e.shown_device}
        devices: dict[str, str] = {}
        for some in parted(bare - {""}):
            query = {"id": some, "fields": ["id", "device_id"]}
            for port in self._ports(query, timeout):
                devices[port.id] = text(port.device_id)
        return [_ip_of(entry, devices) for entry in entries]


def _ip_of(entry: _IP, devices: Mapping[str, str]) -> FloatingIP:
    """A floating IP.

    :param devices: ids of servers by their ports, where Neutron shows none
    """
    revision = entry.revision_number
    description = "" if entry.description is None else entry.description
    mark, goes_with = marks.mark_in_description(description)
    device_id = None
    if entry.port_id is not None:
        port = text(entry.port_id)
        # A port that no server has is no device's, but not free either.
        device_id = entry.shown_device or devices.get(port) or port or _UNKNOWN
    return FloatingIP(
        id=entry.id,
        address=entry.floating_ip_address,
        device_id=device_id,
        # Without one Neutron refuses every change, by its 412.
        revision=revision if isinstance(revision, int) else 0,
        mark=mark,
        created=text(entry.created_at).replace("Z", "+00:00") or None,
        goes_with=goes_with or None,
    )
