"""Network, as Neutron is."""

from poolmgr.testing.openstack.errors import Refused
from poolmgr.testing.openstack.floating_ips import (
    FloatingIPs,
    find_port,
    network_not_found,
)
from poolmgr.testing.openstack.lists import listed, one
from poolmgr.testing.openstack.service import (
    Answer,
    Handler,
    Request,
    Service,
)
from poolmgr.testing.openstack.state import State


class Network(Service):
    """Networks, ports and floating IPs."""

    name, prefix, version = "network", "/network", "/v2.0"

    def __init__(self, state: State) -> None:
        self._state = state
        self._floating_ips = FloatingIPs(state)
        super().__init__()

    def routes(self) -> list[tuple[str, str, Handler]]:
        """See :meth:`Service.routes`."""
        routers = self._state.settings.routers
        return [
            *(self._floating_ips.routes() if routers else ()),
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

    # -- everything else ----------------------------------------------------

    def _list_ports(self, request: Request) -> Answer:
        ports = [port.shown() for port in self._state.ports.values()]
        return listed(request, "ports", ports, self._state.settings)

    def _show_port(self, request: Request, port_id: str) -> Answer:
        return one(request, "port", find_port(self._state, port_id).shown())

    def _list_networks(self, request: Request) -> Answer:
        networks = [net.shown() for net in self._state.networks.values()]
        return listed(request, "networks", networks, self._state.settings)

    def _show_network(self, request: Request, network_id: str) -> Answer:
        network = self._state.networks.get(network_id)
        if network is None:
            raise network_not_found(network_id)
        return one(request, "network", network.shown())

    def _list_subnets(self, request: Request) -> Answer:
        networks = self._state.networks.values()
        shown = [s.shown() for net in networks for s in net.subnets]
        return listed(request, "subnets", shown, self._state.settings)

    def _list_groups(self, request: Request) -> Answer:
        groups = list(self._state.security_groups.values())
        return listed(request, "security_groups", groups, self._state.settings)

    def _extensions(self, _request: Request) -> Answer:
        routers = self._state.settings.routers
        names = (
            *(("router",) if routers else ()),
            "external-net",
            "security-group",
            "revision-if-match",
        )
        return Answer(200, {"extensions": [{"alias": n} for n in names]})
