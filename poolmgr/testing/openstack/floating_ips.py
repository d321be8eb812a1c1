"""Creating, changing and deleting floating IPs, like Neutron."""

import ipaddress
from typing import Any

from aiohttp.web import Response

from poolmgr.testing.openstack.port import FloatingIP, Port
from poolmgr.testing.openstack.seeds import Exhausted, Network
from poolmgr.testing.openstack.service import (
    Handler,
    Json,
    Refused,
    Request,
    json_answer,
)
from poolmgr.testing.openstack.state import State

_ONE = "/floatingips/([^/]+)"
_MUTABLE = {"port_id", "fixed_ip_address", "description"}


class FloatingIPs:
    """Creates, changes and deletes floating IPs."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[tuple[str, str, Handler]]:
        """See :meth:`Service.routes`."""
        return [
            ("POST", "/floatingips", self._create_ip),
            ("PUT", _ONE, self._update_ip),
            ("DELETE", _ONE, self._delete_ip),
        ]

    def _create_ip(self, request: Request) -> Response:
        wanted = _wanted(request, _MUTABLE | {"floating_network_id"})
        network = self._external(wanted.get("floating_network_id"))
        if len(self._state.floating_ips) >= self._state.settings.floating_ips:
            message = "Quota exceeded for resources: ['floatingip']."
            raise Refused(409, message, "OverQuota")
        target = self._target(wanted, None, network)
        try:
            address = network.subnets[0].take()
        except Exhausted:
            raise Refused(
                409,
                f"No more IP addresses available on network {network.id}.",
                "IpAddressGenerationFailure",
            ) from None
        # Attaching it in the same request is not a change.
        revision = 0 if target is None else -1
        description = wanted.get("description", "")
        ip = FloatingIP(address, network, description, revision=revision)
        self._state.floating_ips[ip.id] = ip
        if target is not None:
            self._state.attach(ip, *target)
        return json_answer({"floatingip": ip.shown()}, 201)

    def _update_ip(self, request: Request, ip_id: str) -> Response:
        ip = self._ip(request, ip_id)
        wanted = _wanted(request, _MUTABLE)
        if "fixed_ip_address" in wanted and not wanted.get("port_id"):
            raise _bad_request(
                "fixed_ip_address cannot be specified without a port_id."
            )
        target = self._target(wanted, ip, ip.network)
        if not request.fate.lost:
            description = wanted.get("description", ip.description)
            if "port_id" in wanted:
                ip.description = description
                self._state.attach(ip, *(target or (None, None)))
            elif wanted:
                ip.change(description=description)
        return json_answer({"floatingip": ip.shown()})

    def _delete_ip(self, request: Request, ip_id: str) -> Response:
        self._state.remove_floating_ip(self._ip(request, ip_id))
        return json_answer(status=204)

    def _ip(self, request: Request, ip_id: str) -> FloatingIP:
        """The floating IP to change, in the revision that is expected."""
        ip = self._state.floating_ips.get(ip_id)
        if ip is None:
            raise not_found("FloatingIP", ip_id)
        condition = request.http.headers.get("If-Match", "")
        name, _equals, number = condition.partition("=")
        if name == "revision_number" and number != str(ip.revision):
            raise Refused(
                412,
                f"Constrained to {number}, but current revision is "
                f"{ip.revision}",
                "RevisionNumberConstraintFailed",
            )
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
            raise not_found("Network", network_id)
        if not network.external:
            problem = f"Network {network_id} is not a valid external network."
            raise _bad_request(problem)
        return network

    def _target(
        self, wanted: Json, ip: FloatingIP | None, external: Network
    ) -> tuple[Port, str] | None:
        """Return the port and fixed address to attach a floating IP to.

        :param ip: the floating IP to change; None for a new one
        :raises Refused: it cannot be attached to them
        """
        port_id = wanted.get("port_id")
        if port_id is None:
            return None
        port = self._state.ports.get(port_id)
        if port is None:
            raise not_found("Port", port_id)
        address = _fixed_address(port, wanted.get("fixed_ip_address"))
        if not port.network.routed:
            raise Refused(
                404,
                f"External network {external.id} is not reachable from "
                f"subnet {port.network.subnets[0].id}.  Therefore, cannot "
                f"associate Port {port_id} with a Floating IP.",
                "ExternalGatewayForFloatingIPNotFound",
            )
        if self._state.ip_on(port, address) not in (None, ip):
            who = f"{ip.address} ({ip.id})" if ip else "(new)"
            raise Refused(
                409,
                f"Cannot associate floating IP {who} with port {port_id} "
                f"using fixed IP {address}, as that fixed IP already has a "
                f"floating IP on external network {external.id}.",
                "FloatingIPPortAlreadyAssociated",
            )
        return port, address


def _wanted(request: Request, known: set[str]) -> Json:
    wanted = request.resource("floatingip")
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


def _fixed_address(port: Port, wanted: str | None) -> str:
    if wanted is not None and wanted not in port.ipv4:
        raise _bad_request(f"Port {port.id} does not have fixed ip {wanted}.")
    if not port.ipv4:
        raise _bad_request(
            f"Cannot add floating IP to port {port.id} that has no fixed "
            "IPv4 addresses."
        )
    return wanted or min(port.ipv4, key=ipaddress.ip_address)


def _bad_request(problem: str) -> Refused:
    return Refused(400, f"Bad floatingip request: {problem}", "BadRequest")


def not_found(kind: str, id_: object) -> Refused:
    """Return Neutron's 404.

    :param kind: the kind of resource, as in the type of the error
    """
    message = f"{kind} {id_} could not be found."
    return Refused(404, message, f"{kind}NotFound")
