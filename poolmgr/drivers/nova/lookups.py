"""What the cloud has of what the settings name: each looked up by name or id.

Every look-up raises :class:`~poolmgr.errors.CloudRefused` when the thing is
not there, or there are several.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.calls import Call, Service, decoded, path_of
from poolmgr.drivers.nova.entries import Named, read_entries
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import CloudRefused
from poolmgr.text import one_line

#: Largest user data that Nova takes, in bytes before base64.
#: https://docs.openstack.org/api-ref/compute/#create-server
_MOST_USER_DATA = 49149
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class NoNetwork(CloudRefused):
    """The cloud has no network of the kind."""


class _Missing(CloudRefused):
    def __init__(self, setting: str, wanted: str) -> None:
        super().__init__(f"[nova] {setting}: there is no {wanted!r}")


class _Zone(msgspec.Struct, gc=False):
    zoneName: str  # noqa: N815 - Nova's name of it
    zoneState: Any = None  # noqa: N815


class Lookups:
    """Looks up what the settings name.

    :param api: the cloud
    :param settings: what to look for
    """

    def __init__(self, api: Api, settings: NovaSettings) -> None:
        self._api = api
        self._settings = settings

    def image(self) -> str:
        """The image's id."""
        wanted = self._settings.image
        _check_set("image", wanted)
        found = self._listed("image", "/images", {"name": wanted})
        if not found and _UUID.fullmatch(wanted):
            found = self._image_by_id(wanted)
        active = [image for image in found if image.status == "active"]
        if found and not active:
            raise CloudRefused(
                f"[nova] image: {wanted!r} is "
                f"{one_line(str(found[0].status))}, not active"
            )
        return _one("image", wanted, active)

    def flavor(self) -> str:
        """The flavor's id."""
        wanted = self._settings.flavor
        _check_set("flavor", wanted)
        return self._by_name_or_id("flavor", "/flavors", wanted)

    def networks(self) -> list[str]:
        """The networks' ids; the one there is if none was named."""
        wanted = self._settings.networks
        if not wanted:
            return [self._only_network("networks", external=False)]
        return [self._neutron("networks", "/networks", n) for n in wanted]

    def external_network(self) -> str:
        """Id of the network that floating IPs are taken from.

        :raises NoNetwork: none was named, and there is none
        """
        setting = "floating_network"
        wanted = self._settings.floating_network
        if not wanted:
            return self._only_network(setting, external=True)
        external = {"router:external": True}
        try:
            return self._neutron(setting, "/networks", wanted, external)
        except _Missing as error:
            raise CloudRefused(f"{error} that is external") from None

    def security_group(self, wanted: str) -> str:
        """The id of one of the security groups."""
        return self._neutron("security_groups", "/security-groups", wanted)

    def key(self) -> str:
        """The key pair's name."""
        wanted = str(self._settings.key_name)
        try:
            call = Call("GET", "compute", path_of("/os-keypairs", wanted))
        except CloudRefused:
            call = None  # no key pair has such a name
        if call is None or self._api.run_if_there(call) is None:
            raise _Missing("key_name", wanted)
        return wanted

    def server_group(self) -> str:
        """The server group's id."""
        wanted = str(self._settings.server_group)
        return self._by_name_or_id("server_group", "/os-server-groups", wanted)

    def zones(self) -> Sequence[str]:
        """The zones, if all of them are there."""
        wanted = self._settings.availability_zones
        if wanted:
            there = self._zones_there()
            for zone in wanted:
                # "zone:host" is for administrators; Nova will say.
                if zone.partition(":")[0] not in there:
                    raise CloudRefused(
                        f"[nova] availability_zones: there is no {zone!r} "
                        f"(there are {', '.join(sorted(there)) or 'none'})"
                    )
        return wanted

    def user_data(self) -> bytes:
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

    # -- inside -------------------------------------------------------------

    def _listed(
        self, service: Service, path: str, query: Mapping[str, Any]
    ) -> list[Named]:
        found = self._api.read_list(Call("GET", service, path, query), Named)
        if "name" in query:
            # One without a name is not what was asked for.
            found = [each for each in found if isinstance(each.name, str)]
        return found

    def _by_name_or_id(self, setting: str, path: str, wanted: str) -> str:
        """Id of a thing of Nova's, which cannot be asked for by its name."""
        every = self._listed("compute", path, {})
        by_id = [each for each in every if each.id == wanted]
        named = [each for each in every if each.name == wanted]
        return _one(setting, wanted, by_id or named)

    def _neutron(
        self,
        setting: str,
        path: str,
        wanted: str,
        kind: Mapping[str, Any] = {},
    ) -> str:
        """Id of a thing of Neutron's, by name or id; ours before shared.

        :param kind: what it has to be besides
        """
        found = self._listed("network", path, {"name": wanted, **kind})
        if not found and _UUID.fullmatch(wanted):
            found = self._listed("network", path, {"id": wanted, **kind})
        if len(found) > 1:
            project = self._api.project_id()
            found = [f for f in found if f.project_id == project] or found
        return _one(setting, wanted, found)

    def _only_network(self, setting: str, external: bool) -> str:
        query = {"router:external": external}
        found = self._listed("network", "/networks", query)
        if len(found) == 1:
            return found[0].id
        kind = "external networks" if external else "networks"
        if not found:
            raise NoNetwork(f"[nova] {setting}: there are no {kind}")
        names = ", ".join(sorted(repr(n.name) for n in found)[:5])
        raise CloudRefused(
            f"[nova] {setting} is not set and there are {len(found)} {kind}"
            f" ({names}); name one"
        )

    def _image_by_id(self, id_: str) -> list[Named]:
        call = Call("GET", "image", f"/images/{id_}")
        image = self._api.run_if_there(call)
        if image is None:
            return []
        return [Named(id_, status=decoded(image["status"], Any))]

    def _zones_there(self) -> set[str]:
        """The zones that are not known to be unavailable."""
        field = "availabilityZoneInfo"
        call = Call("GET", "compute", "/os-availability-zone", expects=field)
        entries = decoded(self._api.run(call)[field], list[msgspec.Raw])

        def read(entry: msgspec.Raw) -> str:
            zone = decoded(entry, _Zone)
            state = zone.zoneState
            known = isinstance(state, Mapping) and state.get("available")
            return "" if known is False else zone.zoneName

        return set(filter(None, read_entries("zones", entries, read)))


def _check_set(setting: str, value: str) -> None:
    if not value:
        raise CloudRefused(f"[nova] {setting} is not set")


def _one(setting: str, wanted: str, found: Sequence[Named]) -> str:
    if not found:
        raise _Missing(setting, wanted)
    if len(found) > 1:
        raise CloudRefused(
            f"[nova] {setting}: {len(found)} are named {wanted!r}; give the "
            "id of the one that is meant"
        )
    return found[0].id
