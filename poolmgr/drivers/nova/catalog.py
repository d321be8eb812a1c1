"""What the cloud has of what the settings name."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.calls import Call, Service
from poolmgr.drivers.nova.entries import Entry, needed, usable
from poolmgr.drivers.nova.failures import Refused, Unavailable
from poolmgr.drivers.nova.paths import path_of
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import CloudRefused
from poolmgr.text import one_line
from poolmgr.waiting import Deadline

#: Largest user data that Nova takes, in bytes before base64.
#: https://docs.openstack.org/api-ref/compute/#create-server
_MOST_USER_DATA = 49149
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class NoNetwork(CloudRefused):
    """The cloud has no network of the kind."""


class Catalog:
    """Looks things up, by name or id.

    Every look-up raises :class:`~poolmgr.errors.CloudRefused` when the thing
    is not there, or there are several.

    :param api: the cloud
    :param settings: what to look for
    """

    def __init__(self, api: Api, settings: NovaSettings) -> None:
        self._api = api
        self._settings = settings

    def image(self, deadline: Deadline) -> str:
        """The image's id."""
        wanted = self._settings.image
        _needed("image", wanted)
        found = self._listed("image", "/images", {"name": wanted}, deadline)
        if not found and _UUID.fullmatch(wanted):
            found = self._image_by_id(f"/images/{wanted}", deadline)
        active = [i for i in found if i.get("status") == "active"]
        if found and not active:
            status = one_line(str(found[0].get("status")))
            raise CloudRefused(
                f"[nova] image: {wanted!r} is {status}, not active"
            )
        return _one("image", wanted, active)

    def flavor(self, deadline: Deadline) -> str:
        """The flavor's id."""
        wanted = self._settings.flavor
        _needed("flavor", wanted)
        flavors = self._listed("compute", "/flavors", {}, deadline)
        named = [f for f in flavors if f.get("name") == wanted]
        by_id = [f for f in flavors if f["id"] == wanted]
        return _one("flavor", wanted, by_id or named)

    def networks(self, deadline: Deadline) -> list[str]:
        """The networks' ids; the one there is if none was named."""
        wanted = self._settings.networks
        if not wanted:
            return [self._only_network(False, "networks", deadline)]
        return [self._network("networks", name, deadline) for name in wanted]

    def _network(self, setting: str, wanted: str, deadline: Deadline) -> str:
        return self._neutron(setting, "/networks", wanted, deadline)

    def external_network(self, deadline: Deadline) -> str:
        """Id of the network that floating IPs are taken from.

        :raises NoNetwork: none was named, and there is none
        """
        wanted = self._settings.floating_network
        if not wanted:
            return self._only_network(True, "floating_network", deadline)
        external = {"router:external": True}
        try:
            return self._neutron(
                "floating_network", "/networks", wanted, deadline, external
            )
        except _Missing as error:
            raise CloudRefused(f"{error} that is external") from None

    def security_group(self, wanted: str, deadline: Deadline) -> str:
        """The id of one of the security groups."""
        setting, path = "security_groups", "/security-groups"
        return self._neutron(setting, path, wanted, deadline)

    def _neutron(
        self,
        setting: str,
        path: str,
        wanted: str,
        deadline: Deadline,
        kind: Mapping[str, Any] = {},
    ) -> str:
        """Id of a thing of Neutron's, by name or id; ours before shared.

        :param kind: what it has to be besides
        """
        query = {"name": wanted, **kind}
        found = self._listed("network", path, query, deadline)
        if not found and _UUID.fullmatch(wanted):
            query = {"id": wanted, **kind}
            found = self._listed("network", path, query, deadline)
        if len(found) > 1:
            project = self._api.project_id(deadline)
            ours = [f for f in found if f.get("project_id") == project]
            found = ours or found
        return _one(setting, wanted, found)

    def _only_network(
        self, external: bool, setting: str, deadline: Deadline
    ) -> str:
        query = {"router:external": external}
        found = self._listed("network", "/networks", query, deadline)
        if len(found) == 1:
            return str(found[0]["id"])
        kind = "external networks" if external else "networks"
        if not found:
            raise NoNetwork(f"[nova] {setting}: there are no {kind}")
        names = ", ".join(sorted(repr(n.get("name")) for n in found)[:5])
        raise CloudRefused(
            f"[nova] {setting} is not set and there are {len(found)} {kind}"
            f" ({names}); name one"
        )

    def key(self, deadline: Deadline) -> str:
        """The key pair's name."""
        wanted = str(self._settings.key_name)
        try:
            path = path_of("/os-keypairs", wanted)
        except CloudRefused:
            # No key pair has such a name.
            raise _Missing("key_name", wanted) from None
        try:
            self._api.get("compute", path, deadline)
        except Refused as error:
            if error.status != 404:
                raise
            raise _Missing("key_name", wanted) from None
        return wanted

    def server_group(self, deadline: Deadline) -> str:
        """The server group's id."""
        wanted = str(self._settings.server_group)
        groups = self._listed("compute", "/os-server-groups", {}, deadline)
        named = [g for g in groups if g.get("name") == wanted]
        by_id = [g for g in groups if g["id"] == wanted]
        return _one("server_group", wanted, by_id or named)

    def zones(self, deadline: Deadline) -> Sequence[str]:
        """The zones, if all of them are there."""
        wanted = self._settings.availability_zones
        if wanted:
            answer = self._api.get(
                "compute",
                "/os-availability-zone",
                deadline,
                expects="availabilityZoneInfo",
            )
            zones = answer["availabilityZoneInfo"]
            if not isinstance(zones, list):
                raise Unavailable("Nova's list of availability zones is none")
            there = set(filter(None, usable("zones", zones, _available)))
            for zone in wanted:
                # "zone:host" is for administrators; Nova will say.
                if zone.partition(":")[0] not in there:
                    raise CloudRefused(
                        f"[nova] availability_zones: there is no {zone!r} "
                        f"(there are {', '.join(sorted(there)) or 'none'})"
                    )
        return wanted

    def user_data(self, deadline: Deadline) -> bytes:
        """The content of the user data's file."""
        path = str(self._settings.user_data)
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise CloudRefused(
                f"[nova] user_data: cannot read {path!r}: {error.strerror}"
            ) from None
        if len(data) > _MOST_USER_DATA:
            raise CloudRefused(
                f"[nova] user_data: {path!r} has {len(data)} bytes; Nova "
                f"takes {_MOST_USER_DATA}"
            )
        return data

    def _listed(
        self,
        service: Service,
        path: str,
        query: Mapping[str, Any],
        deadline: Deadline,
    ) -> list[Entry]:
        call = Call("GET", service, path, query)

        def read(entry: Entry) -> Entry:
            needed(entry, "id")
            if "name" in query:
                # One without a name is not what was asked for.
                needed(entry, "name")
            return entry

        what = path.strip("/")
        return list(usable(what, self._api.pages(call, deadline), read))

    def _image_by_id(self, path: str, deadline: Deadline) -> list[Entry]:
        try:
            image = self._api.get("image", path, deadline)
            return [{**image, "id": path.rpartition("/")[2]}]
        except Refused as error:
            if error.status != 404:
                raise
            return []


def _needed(setting: str, value: str) -> None:
    if not value:
        raise CloudRefused(f"[nova] {setting} is not set")


def _available(zone: Entry) -> str | None:
    """A zone's name; None if it is known not to be available."""
    state = zone.get("zoneState")
    available = state.get("available") if isinstance(state, Mapping) else None
    return None if available is False else needed(zone, "zoneName")


def _one(setting: str, wanted: str, found: Sequence[Mapping[str, Any]]) -> str:
    if not found:
        raise _Missing(setting, wanted)
    if len(found) > 1:
        raise CloudRefused(
            f"[nova] {setting}: {len(found)} are named {wanted!r}; give the "
            "id of the one that is meant"
        )
    return str(found[0]["id"])


class _Missing(CloudRefused):
    def __init__(self, setting: str, wanted: str) -> None:
        super().__init__(f"[nova] {setting}: there is no {wanted!r}")
