"""What servers are made from, as Nova shows it."""

from typing import Any

from poolmgr.testing.openstack import seeds
from poolmgr.testing.openstack.errors import Refused
from poolmgr.testing.openstack.service import Answer, Handler, Json, Request
from poolmgr.testing.openstack.state import State


class Offers:
    """Answers the requests for flavors, key pairs, zones and limits."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[tuple[str, str, Handler]]:
        """See :meth:`Service.routes`."""
        return [
            ("GET", "/flavors", self._flavors),
            ("GET", "/flavors/detail", self._flavor_details),
            ("GET", "/flavors/([^/]+)", self._flavor),
            ("GET", "/os-keypairs", self._keypairs),
            ("GET", "/os-keypairs/([^/]+)", self._keypair),
            ("GET", "/os-availability-zone", self._zones),
            ("GET", "/os-server-groups", self._groups),
            ("GET", "/os-server-groups/([^/]+)", self._group),
            ("GET", "/limits", self._limits),
        ]

    def _flavors(self, _request: Request) -> Answer:
        shown = [
            {"id": f["id"], "name": f["name"], "description": None}
            for f in self._state.flavors.values()
        ]
        return Answer(200, {"flavors": shown})

    def _flavor_details(self, _request: Request) -> Answer:
        return Answer(200, {"flavors": list(self._state.flavors.values())})

    def _flavor(self, _request: Request, flavor_id: str) -> Answer:
        if flavor_id not in self._state.flavors:
            raise Refused(404, f"Flavor {flavor_id} could not be found.")
        return Answer(200, {"flavor": self._state.flavors[flavor_id]})

    def _keypairs(self, _request: Request) -> Answer:
        shown = [{"keypair": k} for k in self._state.keypairs.values()]
        return Answer(200, {"keypairs": shown})

    def _keypair(self, _request: Request, name: str) -> Answer:
        if name not in self._state.keypairs:
            message = f"Keypair {name} not found for user {seeds.USER_ID}"
            raise Refused(404, message)
        return Answer(200, {"keypair": self._state.keypairs[name]})

    def _zones(self, _request: Request) -> Answer:
        shown: list[dict[str, Any]] = [
            {"zoneName": name, "zoneState": {"available": True}, "hosts": None}
            for name in seeds.AVAILABILITY_ZONES
        ]
        return Answer(200, {"availabilityZoneInfo": shown})

    def _groups(self, _request: Request) -> Answer:
        shown = [self._with_members(i) for i in self._state.server_groups]
        return Answer(200, {"server_groups": shown})

    def _group(self, _request: Request, group_id: str) -> Answer:
        if group_id not in self._state.server_groups:
            message = f"Instance group {group_id} could not be found."
            raise Refused(404, message)
        return Answer(200, {"server_group": self._with_members(group_id)})

    def _with_members(self, group_id: str) -> Json:
        servers = self._state.servers.values()
        members = [s.id for s in servers if s.group == group_id]
        return {**self._state.server_groups[group_id], "members": members}

    def _limits(self, _request: Request) -> Answer:
        state = self._state
        absolute = {
            "maxTotalInstances": state.settings.instances,
            "totalInstancesUsed": len(state.servers),
            "maxTotalCores": -1,
            "totalCoresUsed": len(state.servers),
            "maxTotalRAMSize": -1,
            "totalRAMUsed": sum(
                s.flavor["ram"] for s in state.servers.values()
            ),
            "maxServerMeta": 128,
            "maxTotalKeypairs": 100,
            "maxServerGroups": 10,
            "maxServerGroupMembers": 10,
            "totalServerGroupsUsed": len(state.server_groups),
        }
        return Answer(200, {"limits": {"rate": [], "absolute": absolute}})
