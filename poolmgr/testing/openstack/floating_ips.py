"""The floating IPs of network, as Neutron has them."""

import ipaddress
from typing import Any

from poolmgr.testing.openstack.addresses import Exhausted
from poolmgr.testing.openstack.errors import Refused, bad_floating_ip
from poolmgr.testing.openstack.lists import listed, one
from poolmgr.testing.openstack.port import FloatingIP, Port
from poolmgr.testing.openstack.seeds import Network
from poolmgr.testing.openstack.service import Answer, Handler, Json, Request
from poolmgr.testing.openstack.state import State

_ONE = "/floatingips/([^/]+)"
_MUTABLE = {"port_id", "fixed_ip_address", "description"}


class FloatingIPs:
    """Answers the requests to ``/floatingips``."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[tuple[str, str, Handler]]:
        """See :meth:`Service.routes`."""
        return [
            ("GET", "/floatingips", self._list_ips),
            ("POST", "/floatingips", self._create_ip),
            ("GET", _ONE, self._show_ip),
            ("PUT", _ONE, self._update_ip),
            ("DELETE", _ONE, self._delete_ip),
        ]

    def _list_ips(self, request: Request) -> Answer:
        ips = [ip.shown() for ip in self._state.floating_ips.values()]
        return listed(request, "floatingips", ips, self._state.settings)

    def _show_ip(self, request: Request, ip_id: str) -> Answer:
        return one(request, "floatingip", self._ip(ip_id).shown())

    def _create_ip(self, request: Request) -> Answer:
        wanted = _wanted(request, _MUTABLE | {"floating_network_id"})
        network = self._external(wanted.get("floating_network_id"))
        if len(self._state.floating_ips) >= self._state.settings.floating_ips:
            message = "Quota exceeded for resources: ['floatingip']."
            raise Refused(409, message, "OverQuota")
        target = self._target(wanted, None, network)
        # Being attached from the start is not a change.
        ip = FloatingIP(
            _take(network),
            network,
            wanted.get("description", ""),
            revision=0 if target is None else -1,
        )
        self._state.add_floating_ip(ip)
        if target is not None:
            self._state.attach(ip, *target)
        return Answer(201, {"floatingip": ip.shown()})

    def _update_ip(self, request: Request, ip_id: str) -> Answer:
        ip = self._ip(ip_id)
        _check_revision(request, ip)
        wanted = _wanted(request, _MUTABLE)
        if "fixed_ip_address" in wanted and not wanted.get("port_id"):
            raise bad_floating_ip(
                "fixed_ip_address cannot be specified without a port_id."
            )
        target = self._target(wanted, ip, ip.network)
        if request.fate.lost:
            return Answer(200, {"floatingip": ip.shown()})
        description = wanted.get("description", ip.description)
        if "port_id" in wanted:
            ip.description = description
            self._state.attach(ip, *(target or (None, None)))
        elif wanted:
            ip.change(description=description)
        return Answer(200, {"floatingip": ip.shown()})

    def _delete_ip(self, request: Request, ip_id: str) -> Answer:
        ip = self._ip(ip_id)
        _check_revision(request, ip)
        self._state.remove_floating_ip(ip)
        return Answer(204)

    def _ip(self, ip_id: str) -> FloatingIP:
        ip = self._state.floating_ips.get(ip_id)
        if ip is None:
            message = f"Floating IP {ip_id} could not be found"
            raise Refused(404, message, "FloatingIPNotFound")
        return ip

    def _external(self, network_id: Any) -> Network:
        if network_id is None:
            message = (
                "Failed to parse request. Required attribute "
                "'floating_network_id' not specified"
            )
            raise Refused(400, message, "HTTPBadRequest")
        network = self._state.networks.get(network_id)
        if network is None:
            raise network_not_found(network_id)
        if not network.external:
            raise bad_floating_ip(
                f"Network {network_id} is not a valid external network."
            )
        return network

    def _target(
        self, wanted: Json, ip: FloatingIP | None, external: Network
    ) -> tuple[Port, str] | None:
        """The port and its address that a floating IP is to lead to.

        :param ip: that is changed; None for a new one
        :raises Refused: it cannot lead there
        """
        if wanted.get("port_id") is None:
            return None
        port = find_port(self._state, wanted["port_id"])
        address = _fixed_address(port, wanted.get("fixed_ip_address"))
        if not port.network.routed:
            raise _not_reachable(port, external)
        other = self._state.ip_on(port, address)
        if other is not None and other is not ip:
            raise _already_associated(ip, port, address, external)
        return port, address


def find_port(state: State, port_id: Any) -> Port:
    """A port by its id.

    :raises Refused: there is none
    """
    port = state.ports.get(port_id)
    if port is None:
        message = f"Port {port_id} could not be found."
        raise Refused(404, message, "PortNotFound")
    return port


def _wanted(request: Request, known: set[str]) -> Json:
    body = request.body if isinstance(request.body, dict) else {}
    wanted = body.get("floatingip")
    if not isinstance(wanted, dict):
        message = "Resource 'floatingip' is not found in the request body"
        raise Refused(400, message, "HTTPBadRequest")
    unknown = sorted(set(wanted) - known)
    if unknown:
        message = f"Unrecognized attribute(s) '{', '.join(unknown)}'"
        raise Refused(400, message, "HTTPBadRequest")
    description = wanted.get("description", "")
    if not isinstance(description, str) or len(description) > 255:
        message = (
            f"Invalid input for description. Reason: '{description}' exceeds "
            "maximum length of 255."
        )
        raise Refused(400, message, "HTTPBadRequest")
    return wanted


def _check_revision(request: Request, ip: FloatingIP) -> None:
    name, _equals, number = request.headers.get("If-Match", "").partition("=")
    if name == "revision_number" and number != str(ip.revision):
        raise Refused(
            412,
            f"Constrained to {number}, but current revision is {ip.revision}",
            "RevisionNumberConstraintFailed",
        )


def _take(network: Network) -> str:
    try:
        return network.subnets[0].addresses.take()
    except Exhausted:
        raise Refused(
            409,
            f"No more IP addresses available on network {network.id}.",
            "IpAddressGenerationFailure",
        ) from None


def _fixed_address(port: Port, wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in port.ipv4:
            raise bad_floating_ip(
                f"Port {port.id} does not have fixed ip {wanted}."
            )
        return wanted
    if not port.ipv4:
        raise bad_floating_ip(
            f"Cannot add floating IP to port {port.id} that has no fixed "
            "IPv4 addresses."
        )
    return min(port.ipv4, key=ipaddress.ip_address)


def network_not_found(network_id: str) -> Refused:
    """Network's 404 for a network."""
    message = f"Network {network_id} could not be found."
    return Refused(404, message, "NetworkNotFound")


def _not_reachable(port: Port, external: Network) -> Refused:
    return Refused(
        404,
        f"External network {external.id} is not reachable from subnet "
        f"{port.network.subnets[0].id}.  Therefore, cannot associate Port "
        f"{port.id} with a Floating IP.",
        "ExternalGatewayForFloatingIPNotFound",
    )


def _already_associated(
    ip: FloatingIP | None, port: Port, address: str, external: Network
) -> Refused:
    who = f"{ip.address} ({ip.id})" if ip else "(new)"
    return Refused(
        409,
        f"Cannot associate floating IP {who} with port {port.id} using fixed "
        f"IP {address}, as that fixed IP already has a floating IP on "
        f"external network {external.id}.",
        "FloatingIPPortAlreadyAssociated",
    )
