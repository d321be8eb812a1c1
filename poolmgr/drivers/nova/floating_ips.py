"""The methods of the driver for floating IPs, which are Neutron's."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from poolmgr import errors
from poolmgr.drivers.base import Device, Driver, FloatingIP
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.api import Api, Entry
from poolmgr.drivers.nova.calls import ApiCall, Refused, path_of
from poolmgr.drivers.nova.resources import (
    FLOATING_NETWORK,
    ConfiguredResources,
)
from poolmgr.drivers.nova.servers import batches
from poolmgr.ownership import Mark

# Neutron cannot filter by the beginning of a description, or by a port that
# is null.
_UNATTACHED = {"status": "DOWN"}
_IPS = "/floatingips"
# The port's network has no route to the external network. The network of
# another port may have one.
_NO_ROUTE = "ExternalGatewayForFloatingIPNotFound"
_NO_PORT = "PortNotFound"
# Neutron runs without the extension "router", and does not know the path.
_NO_ROUTERS = "HTTPNotFound"


class _PortDetails(msgspec.Struct, gc=False):
    """The port of a floating IP, if Neutron has "fip-port-details"."""

    device_id: str = ""


class _IP(Entry, gc=False):
    """A floating IP in Neutron's answers.

    https://docs.openstack.org/api-ref/network/v2/#list-floating-ips
    """

    floating_ip_address: str
    port_id: str | None
    description: str | None
    port_details: _PortDetails | None = None
    revision_number: int = 0
    created_at: str | None = None


class _FixedIP(msgspec.Struct, gc=False):
    """An address of a port."""

    ip_address: str


class _Port(Entry, gc=False):
    """A port in Neutron's answers."""

    device_id: str = ""
    fixed_ips: tuple[_FixedIP, ...] = ()


class FloatingIPs(Driver):
    """The methods of the driver for floating IPs.

    :ivar api: the cloud's services
    :ivar resources: the resources that the settings name
    """

    api: Api
    resources: ConfiguredResources

    def create_ip(
        self, mark: Mark, timeout: float, device_id: str = ""
    ) -> FloatingIP:
        """See :meth:`Driver.create_ip`.

        :param device_id: the device that it shall belong to, if any
        """
        description = marks.description_of(mark, device_id)
        with self.resources.used([FLOATING_NETWORK], timeout) as resources:
            new = {
                "description": description,
                "floating_network_id": resources[FLOATING_NETWORK],
            }
            body = {"floatingip": new}
            call = ApiCall(
                "POST", "network", _IPS, body=body, expects="floatingip"
            )
            return _convert(self.api.read(call, _IP, timeout), {})

    def list_ips(self, timeout: float) -> list[FloatingIP]:
        """See :meth:`Driver.list_ips`."""
        return self._read_ips([{}], timeout)

    def find_ips(
        self, addresses: Collection[str], timeout: float
    ) -> list[FloatingIP]:
        """See :meth:`Driver.find_ips`."""
        queries = [
            {"floating_ip_address": batch} for batch in batches(addresses)
        ]
        return self._read_ips(queries, timeout)

    def ips_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> list[FloatingIP]:
        """See :meth:`Driver.ips_of_jobs`.

        Only floating IPs that are not attached: the client of any other has
        had its answer, and a big project has thousands of those.
        """
        found = self._read_ips([_UNATTACHED], timeout)
        ours = [ip for ip in found if ip.mark and ip.mark.unique in uniques]
        # One that belongs to a device is never the result of a BUILD_IP.
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
            {"port_id": port.id, "fixed_ip_address": fixed.ip_address}
            for port in self._read_ports(timeout, device_id=device.id)
            for fixed in port.fixed_ips
            # Neutron attaches floating IPs to IPv4 addresses only.
            if "." in fixed.ip_address
        ]
        # The device's own address first: it is in the network that the
        # settings choose, and clients may not reach the others.
        places.sort(key=lambda e: e["fixed_ip_address"] != device.address)
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
                    # The port is deleted, or too new for this Neutron server.
                    error = errors.CloudUnavailable(str(refused))
                elif refused.kind == _NO_ROUTE:
                    error = refused
                else:
                    raise
        raise error

    def detach_ip(self, ip: FloatingIP, timeout: float) -> None:
        """See :meth:`Driver.detach_ip`."""
        self._update(ip, {"port_id": None}, timeout)

    def delete_ip(self, ip: FloatingIP, timeout: float) -> bool:
        """See :meth:`Driver.delete_ip`."""
        call = ApiCall("DELETE", "network", path_of(_IPS, ip.id))
        return self.api.exists(call, timeout)

    def ips_of_device(
        self, device: Device, timeout: float
    ) -> list[FloatingIP]:
        """List the floating IPs that belong to a device."""
        queries: list[Mapping[str, Any]] = [_UNATTACHED]
        ports = self._read_ports(timeout, device_id=device.id)
        if ports:
            queries.append({"port_id": [port.id for port in ports]})
        found = self._read_ips(queries, timeout)
        # One that is just being attached may be in both lists.
        by_id = {ip.id: ip for ip in found if ip.goes_with == device.id}
        return list(by_id.values())

    # -- inside -------------------------------------------------------------

    def _update(
        self, ip: FloatingIP, change: Mapping[str, Any], timeout: float
    ) -> dict[str, Any]:
        """Change a floating IP and return its new fields.

        :raises Changed: somebody else has changed or deleted it
        """
        # https://docs.openstack.org/api-ref/network/v2/#revisions
        call = ApiCall(
            "PUT",
            "network",
            path_of(_IPS, ip.id),
            body={"floatingip": change},
            headers={"If-Match": f"revision_number={ip.revision}"},
            expects="floatingip",
        )
        # Neutron compares revisions outside of the transaction that writes, so
        # it may accept two changes within a millisecond.
        try:
            with self.api.lock_for(ip.id):
                return self.api.read(call, dict[str, Any], timeout)
        except Refused as error:
            if error.kind == "FloatingIPNotFound":
                raise errors.Changed(str(error)) from None
            raise

    def _read_ports(self, timeout: float, **query: object) -> list[_Port]:
        fields = list(_Port.__struct_fields__)
        call = ApiCall("GET", "network", "/ports", {**query, "fields": fields})
        return self.api.read_list(call, _Port, timeout)

    def _read_ips(
        self, queries: Iterable[Mapping[str, Any]], timeout: float
    ) -> list[FloatingIP]:
        # Neutron shows an administrator the floating IPs of all projects.
        common = {
            "project_id": self.api.login.project_id(timeout),
            "fields": list(_IP.__struct_fields__),
        }
        entries: list[_IP] = []
        for query in queries:
            call = ApiCall("GET", "network", _IPS, {**common, **query})
            try:
                entries += self.api.read_list(call, _IP, timeout)
            except Refused as error:
                # A cloud without routers has no floating IPs.
                if error.kind != _NO_ROUTERS:
                    raise
        ports = {
            e.port_id for e in entries if e.port_id and not e.port_details
        }
        devices: dict[str, str] = {}
        for batch in batches(ports):
            for port in self._read_ports(timeout, id=batch):
                devices[port.id] = port.device_id
        return [_convert(entry, devices) for entry in entries]


def _convert(entry: _IP, devices: Mapping[str, str]) -> FloatingIP:
    """Convert a floating IP of Neutron.

    :param devices: ids of devices by port, where Neutron has no port details
    """
    mark, goes_with = marks.mark_in_description(entry.description or "")
    device_id = None
    if (port := entry.port_id) is not None:
        details = entry.port_details
        shown = details.device_id if details else devices.get(port)
        # The floating IP is in use, even if the port belongs to no device.
        device_id = shown or port
    return FloatingIP(
        id=entry.id,
        address=entry.floating_ip_address,
        device_id=device_id,
        revision=entry.revision_number,
        mark=mark,
        created=(entry.created_at or "").replace("Z", "+00:00") or None,
        goes_with=goes_with or None,
    )
