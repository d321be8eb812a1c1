"""Flavors, key pairs, zones, server groups and limits, like Nova."""

from collections.abc import Mapping

from aiohttp.web import Response

from poolmgr.testing.openstack import seeds
from poolmgr.testing.openstack.service import (
    Handler,
    Json,
    Refused,
    Request,
    json_answer,
)
from poolmgr.testing.openstack.state import State

#: The resources by path: the name in responses and in error messages.
_KINDS = {
    "flavors": ("flavor", "Flavor"),
    "os-keypairs": ("keypair", "Keypair"),
    "os-server-groups": ("server_group", "Instance group"),
}


class Offers:
    """Handles the requests for them."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._resources: dict[str, Mapping[str, Json]] = {
            "flavors": state.flavors,
            "os-keypairs": state.keypairs,
            "os-server-groups": state.server_groups,
        }

    def routes(self) -> list[tuple[str, str, Handler]]:
        """See :meth:`Service.routes`."""
        path = f"/({'|'.join(_KINDS)})"
        return [
            ("GET", path, self._list),
            ("GET", "/(flavors)/detail", self._list),
            ("GET", f"{path}/([^/]+)", self._show),
            ("GET", "/flavors/[^/]+/os-extra_specs", self._extra_specs),
            ("GET", "/os-availability-zone(?:/detail)?", self._zones),
            ("GET", "/limits", self._limits),
        ]

    def _list(self, request: Request, kind: str) -> Response:
        name = _KINDS[kind][0]
        shown = [self._shown(kind, key) for key in self._resources[kind]]
        if request.call.path == "/flavors":
            few = ("id", "name", "description")
            shown = [{key: flavor[key] for key in few} for flavor in shown]
        if kind == "os-keypairs":
            shown = [{name: keypair} for keypair in shown]
        return json_answer({f"{name}s": shown})

    def _show(self, _request: Request, kind: str, key: str) -> Response:
        name, label = _KINDS[kind]
        if key not in self._resources[kind]:
            raise Refused(404, f"{label} {key} could not be found.")
        return json_answer({name: self._shown(kind, key)})

    def _shown(self, kind: str, key: str) -> Json:
        resource = self._resources[kind][key]
        if kind != "os-server-groups":
            return resource
        servers = self._state.servers.values()
        members = [s.id for s in servers if s.group == key]
        return {**resource, "members": members}

    def _extra_specs(self, _request: Request) -> Response:
        return json_answer({"extra_specs": {}})

    def _zones(self, _request: Request) -> Response:
        shown: list[Json] = [
            {"zoneName": name, "zoneState": {"available": True}, "hosts": None}
            for name in seeds.AVAILABILITY_ZONES
        ]
        return json_answer({"availabilityZoneInfo": shown})

    def _limits(self, _request: Request) -> Response:
        servers = self._state.servers.values()
        absolute = {
            "maxTotalInstances": self._state.settings.instances,
            "totalInstancesUsed": len(servers),
            "maxTotalCores": -1,
            "totalCoresUsed": sum(s.flavor["vcpus"] for s in servers),
            "maxTotalRAMSize": -1,
            "totalRAMUsed": sum(s.flavor["ram"] for s in servers),
        }
        return json_answer({"limits": {"rate": [], "absolute": absolute}})
