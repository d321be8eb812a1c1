"""Network, as Neutron is."""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from poolmgr.testing.openstack.addresses import Exhausted
from poolmgr.testing.openstack.errors import Refused, bad_floating_ip
from poolmgr.testing.openstack.port import FloatingIP, Port
from poolmgr.testing.openstack.seeds import Network as Net
from poolmgr.testing.openstack.service import (
    Answer,
    Handler,
    Json,
    Request,
    Service,
)
from poolmgr.testing.openstack.state import State

_IP = "/floatingips/([^/]+)"
_PAGING = {"fields", "limit", "marker", "sort_key", "sort_dir", "page_reverse"}
_MUTABLE = {"port_id", "fixed_ip_address", "description"}


class Network(Service):
    """Networks, ports and floating IPs."""

    name, prefix, version = "network", "/network", "/v2.0"

    def __init__(self, state: State) -> None:
        super().__init__()
        self._state = state

    def routes(self) -> list[tuple[str, str, Handler]]:
        """See :meth:`Service.routes`."""
        return [
            ("GET", "/floatingips", self._list_ips),
            ("POST", "/floatingips", self._create_ip),
            ("GET", _IP, self._show_ip),
            ("PUT", _IP, self._update_ip),
            ("DELETE", _IP, self._delete_ip),
            ("GET", "/ports", self._list_ports),
            ("GET", "/ports/([^/]+)", self._show_port),
            ("GET", "/networks", self._list_networks),
            ("GET", "/networks/([^/]+)", self._show_network),
            ("GET", "/subnets", self._list_subnets),
            ("GET", "/security-groups", self._list_groups),
            ("GET", "/extensions", self._extensions),
        ]

    # -- the protocol -------------------------------------------------------

    def versions(self, url: str, whole: bool) -> Answer:
        """See :meth:`Service.versions`."""
        version = {
            "id": "v2.0",
            "status": "CURRENT",
            "links": [{"rel": "self", "href": f"{url}/network/v2.0/"}],
        }
        if whole:
            return Answer(200, {"versions": [version]})
        return Answer(200, {"version": version})

    def refusal(self, error: Refused) -> Answer:
        """See :meth:`Service.refusal`."""
        body = {
            "type": error.kind or "HTTPError",
            "message": error.message,
            "detail": "",
        }
        return Answer(
            error.status, {"NeutronError": body}, dict(error.headers)
        )

    # -- floating IPs -------------------------------------------------------

    def _list_ips(self, request: Request) -> Answer:
        ips = [ip.shown() for ip in self._state.floating_ips.values()]
        return _listed(request, "floatingips", ips)

    def _show_ip(self, request: Request, ip_id: str) -> Answer:
        return _one(request, "floatingip", self._ip(ip_id).shown())

    def _create_ip(self, request: Request) -> Answer:
        wanted = _wanted(request, _MUTABLE | {"floating_network_id"})
        network = self._external(wanted.get("floating_network_id"))
        if len(self._state.floating_ips) >= self._state.settings.floating_ips:
            message = "Quota exceeded for resources: ['floatingip']."
            raise Refused(409, message, "OverQuota")
        target = self._target(wanted, None, network)
        ip = FloatingIP(_take(network), network, wanted.get("description", ""))
        self._state.add_floating_ip(ip)
        if target is not None:
            self._state.attach(ip, *target)
            ip.revision = 0
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
        if "port_id" in wanted:
            self._state.attach(ip, *(target or (None, None)))
        if "description" in wanted:
            ip.description = wanted["description"]
            if "port_id" not in wanted:
                ip.change()
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

    def _external(self, network_id: Any) -> Net:
        if network_id is None:
            message = (
                "Failed to parse request. Required attribute "
                "'floating_network_id' not specified"
            )
            raise Refused(400, message, "HTTPBadRequest")
        network = self._state.networks.get(network_id)
        if network is None:
            raise _network_not_found(network_id)
        if not network.external:
            raise bad_floating_ip(
                f"Network {network_id} is not a valid external network."
            )
        return network

    def _target(
        self, wanted: Json, ip: FloatingIP | None, external: Net
    ) -> tuple[Port, str] | None:
        """The port and its address that a floating IP is to lead to.

        :param ip: that is changed; None for a new one
        :raises Refused: it cannot lead there
        """
        if wanted.get("port_id") is None:
            return None
        port = self._port(wanted["port_id"])
        address = _fixed_address(port, wanted.get("fixed_ip_address"))
        if not port.network.routed:
            raise _not_reachable(port, external)
        other = self._state.ip_on(port, address)
        if other is not None and other is not ip:
            raise _already_associated(ip, port, address, external)
        return port, address

    # -- everything else ----------------------------------------------------

    def _list_ports(self, request: Request) -> Answer:
        ports = [port.shown() for port in self._state.ports.values()]
        return _listed(request, "ports", ports)

    def _show_port(self, request: Request, port_id: str) -> Answer:
        return _one(request, "port", self._port(port_id).shown())

    def _port(self, port_id: Any) -> Port:
        port = self._state.ports.get(port_id)
        if port is None:
            message = f"Port {port_id} could not be found."
            raise Refused(404, message, "PortNotFound")
        return port

    def _list_networks(self, request: Request) -> Answer:
        networks = [net.shown() for net in self._state.networks.values()]
        return _listed(request, "networks", networks)

    def _show_network(self, request: Request, network_id: str) -> Answer:
        network = self._state.networks.get(network_id)
        if network is None:
            raise _network_not_found(network_id)
        return _one(request, "network", network.shown())

    def _list_subnets(self, request: Request) -> Answer:
        networks = self._state.networks.values()
        shown = [s.shown() for net in networks for s in net.subnets]
        return _listed(request, "subnets", shown)

    def _list_groups(self, request: Request) -> Answer:
        groups = list(self._state.security_groups.values())
        return _listed(request, "security_groups", groups)

    def _extensions(self, _request: Request) -> Answer:
        names = (
            "router",
            "external-net",
            "security-group",
            "revision-if-match",
        )
        return Answer(200, {"extensions": [{"alias": n} for n in names]})


# -- lists ------------------------------------------------------------------


def _listed(request: Request, kind: str, items: Sequence[Json]) -> Answer:
    """A list as Neutron answers it: filtered, in pages, of some fields."""
    wanted: dict[str, set[str]] = {}
    for name, value in request.query:
        if name not in _PAGING:
            wanted.setdefault(name, set()).add(value.lower())
    _check_filters(wanted, items)
    found = [item for item in items if _matches(item, wanted)]
    page, links = _page(request, kind, found)
    fields = request.all("fields")
    shown = [_only(item, fields) for item in page]
    return Answer(200, {kind: shown, **links})


def _check_filters(wanted: Iterable[str], items: Sequence[Json]) -> None:
    unknown = [name for name in wanted if items and name not in items[0]]
    if unknown:
        raise Refused(
            400,
            f"{unknown} is invalid attribute for filtering",
            "HTTPBadRequest",
        )


def _matches(item: Json, wanted: dict[str, set[str]]) -> bool:
    return all(
        ("" if item[name] is None else str(item[name])).lower() in values
        for name, values in wanted.items()
    )


def _page(
    request: Request, kind: str, items: list[Json]
) -> tuple[list[Json], Json]:
    limit, marker = request.one("limit"), request.one("marker")
    if limit is None:
        return items, {}
    if not limit.isdigit():
        message = (
            "Bad limit request: Limit must be an integer 0 or greater and "
            f"not '{limit}'."
        )
        raise Refused(400, message, "BadRequest")
    if marker is not None:
        ids = [item["id"] for item in items]
        start = ids.index(marker) + 1 if marker in ids else len(ids)
        items = items[start:]
    size = int(limit) or len(items)
    page = items[:size]
    if not page or len(page) < size:
        return page, {}
    kept = [(k, v) for k, v in request.query if k != "marker"]
    query = urlencode([*kept, ("marker", page[-1]["id"])])
    href = f"{request.url}/network/v2.0{request.path}?{query}"
    return page, {f"{kind}_links": [{"rel": "next", "href": href}]}


def _only(item: Json, fields: list[str]) -> Json:
    if not fields:
        return item
    return {name: item[name] for name in fields if name in item}


def _one(request: Request, kind: str, item: Json) -> Answer:
    return Answer(200, {kind: _only(item, request.all("fields"))})


# -- what can be wrong with a floating IP -----------------------------------


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


def _take(network: Net) -> str:
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


def _network_not_found(network_id: str) -> Refused:
    message = f"Network {network_id} could not be found."
    return Refused(404, message, "NetworkNotFound")


def _not_reachable(port: Port, external: Net) -> Refused:
    return Refused(
        404,
        f"External network {external.id} is not reachable from subnet "
        f"{port.network.subnets[0].id}.  Therefore, cannot associate Port "
        f"{port.id} with a Floating IP.",
        "ExternalGatewayForFloatingIPNotFound",
    )


def _already_associated(
    ip: FloatingIP | None, port: Port, address: str, external: Net
) -> Refused:
    who = f"{ip.address} ({ip.id})" if ip else "(new)"
    return Refused(
        409,
        f"Cannot associate floating IP {who} with port {port.id} using fixed "
        f"IP {address}, as that fixed IP already has a floating IP on "
        f"external network {external.id}.",
        "FloatingIPPortAlreadyAssociated",
    )
