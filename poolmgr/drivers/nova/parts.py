"""What devices and floating IPs are made of: looked up once, and remembered.

Every look-up raises :class:`~poolmgr.errors.CloudRefused` when the resource is
not there, or there are several.
"""

import logging
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from poolmgr.drivers.base import Finding
from poolmgr.drivers.nova.api import Api, Entry, objects, path_of
from poolmgr.drivers.nova.calls import Call, Refused, Service
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import CloudRefused
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

#: The setting of floating IPs; all others are of servers.
FLOATING_NETWORK = "floating_network"
#: The lists of what settings name.
_LISTS = {
    "image": Call("GET", "image", "/images", {"status": "active"}),
    "flavor": Call("GET", "compute", "/flavors"),
    "networks": Call("GET", "network", "/networks"),
    "security_groups": Call("GET", "network", "/security-groups"),
    "server_group": Call("GET", "compute", "/os-server-groups"),
    FLOATING_NETWORK: Call(
        "GET", "network", "/networks", {"router:external": True}
    ),
}
_CONDITIONS = {
    "image": " (must be active)",
    FLOATING_NETWORK: " (must be external)",
}
#: All settings that name something, in the order in which they are checked.
_SETTINGS = (
    *("image", "flavor", "networks", "security_groups", "key_name"),
    *("server_group", "user_data", "availability_zones", FLOATING_NETWORK),
)
_NEEDED = ("image", "flavor", "networks", FLOATING_NETWORK)


class _NoNetwork(CloudRefused):
    """The cloud has no network of the kind."""


class _Named(Entry, gc=False):
    """What has a name: an image, a flavor, a network and so on."""

    name: Any = None
    project_id: Any = None


class Parts:
    """All that the settings name.

    :param api: the cloud's services
    :param settings: what to look for
    :ivar of_servers: names of the settings that servers are made of
    """

    def __init__(self, api: Api, settings: NovaSettings) -> None:
        self._api = api
        self._settings = settings
        self._all = [
            setting
            for setting in _SETTINGS
            if setting in _NEEDED or getattr(settings, setting)
        ]
        self.of_servers = [n for n in self._all if n != FLOATING_NETWORK]
        self._found: dict[str, Any] = {}

    def get(self, settings: Iterable[str], timeout: float) -> dict[str, Any]:
        """What was found for each of these settings."""
        parts = {}
        for setting in settings:
            part = self._found.get(setting)
            if part is None:
                part = self._found[setting] = self._look_up(setting, timeout)
            parts[setting] = part
        return parts

    def get_again(
        self, parts: dict[str, Any], error: Refused, timeout: float
    ) -> dict[str, Any]:
        """The same anew, after the cloud has refused to use some parts.

        An image, a flavor or a network may have been replaced by one of its
        name: then the cloud refuses the old one's id.

        :raises Refused: it has refused for another reason
        """
        if error.status not in (400, 404):
            raise error
        for setting in parts:
            self._found.pop(setting, None)
        again = self.get(parts, timeout)
        if again == parts:
            raise error
        LOG.info("refused, trying again: %s", one_line(str(error)))
        return again

    def check(self, timeout: float) -> Iterator[Finding]:
        """Look every part up, and say what was found."""
        self._found.clear()
        has_own_ips = self._settings.device_floating_ip
        for setting in self._all:
            value = _shown(getattr(self._settings, setting))
            found, problem = "", None
            try:
                found = _shown(self.get([setting], timeout)[setting])
            except CloudRefused as error:
                problem = str(error)
                is_needed = setting != FLOATING_NETWORK or has_own_ips
                if isinstance(error, _NoNetwork) and not is_needed:
                    found, problem = "none, so there are no floating IPs", None
            yield Finding(setting, value, found, problem)

    # -- look-ups -----------------------------------------------------------

    def _look_up(self, setting: str, timeout: float) -> Any:
        wanted = getattr(self._settings, setting)
        if setting == "key_name":
            return self._key(wanted, timeout)
        if setting == "user_data":
            return _user_data(wanted)
        if setting == "availability_zones":
            return self._zones(wanted, timeout)
        if isinstance(wanted, tuple):
            every = wanted or ("",)
            return [self._id_of(setting, each, timeout) for each in every]
        return self._id_of(setting, wanted or "", timeout)

    def _key(self, wanted: str, timeout: float) -> str:
        try:
            call = Call("GET", "compute", path_of("/os-keypairs", wanted))
        except CloudRefused as error:
            raise CloudRefused(f"[nova] key_name: {error}") from None
        if not self._api.exists(call, timeout):
            raise CloudRefused(f"[nova] key_name: {wanted!r} not found")
        return wanted

    def _zones(
        self, wanted: Collection[str], timeout: float
    ) -> Collection[str]:
        path, field = "/os-availability-zone", "availabilityZoneInfo"
        call = Call("GET", "compute", path, expects=field)
        zones = objects(self._api.read(call, list[Any], timeout))
        there = {str(zone.get("zoneName")) for zone in zones}
        for zone in wanted:
            # "zone:host" is for administrators; Nova will say.
            if zone.partition(":")[0] not in there:
                raise CloudRefused(
                    f"[nova] availability_zones: {zone!r} not found "
                    f"(there are {', '.join(sorted(there)) or 'none'})"
                )
        return wanted

    def _id_of(self, setting: str, wanted: str, timeout: float) -> str:
        """Id of the one resource that has a name, or else that id.

        :param wanted: empty for the one network there is
        """
        listing = _LISTS[setting]
        if not (wanted or listing.service == "network"):
            raise CloudRefused(f"[nova] {setting} is not set")
        found: list[_Named] = []
        for query in _queries(setting, listing.service, wanted):
            call = replace(listing, params={**(listing.params or {}), **query})
            every = self._api.read_list(call, _Named, timeout)
            found = [each for each in every if wanted in ("", each.id)]
            found = found or [each for each in every if each.name == wanted]
            if found:
                break
        if wanted and len(found) > 1:
            # Those of others are shared with us.
            project = self._api.project_id(timeout)
            found = [f for f in found if f.project_id == project] or found
        if len(found) == 1:
            return found[0].id
        raise _error_of(setting, wanted, found)


def _queries(
    setting: str, service: Service, wanted: str
) -> list[dict[str, Any]]:
    """What lists are asked for, until one has what is wanted."""
    if wanted and service != "compute":
        id_ = f"in:{wanted}" if service == "image" else wanted
        return [{"name": wanted}, {"id": id_}]
    # Nova cannot be asked by name or id.
    return [{"router:external": False} if setting == "networks" else {}]


def _error_of(
    setting: str, wanted: str, found: Collection[_Named]
) -> CloudRefused:
    """The error of a setting that names not one resource."""
    kind = "external networks" if setting == FLOATING_NETWORK else "networks"
    names = ", ".join(sorted(repr(each.name) for each in found)[:5])
    if found and wanted:
        why = f": {len(found)} resources are named {wanted!r}: use the id"
    elif found:
        there = f"there are {len(found)} {kind} ({names})"
        why = f" is not set and {there}; name one"
    elif wanted:
        why = f": {wanted!r} not found{_CONDITIONS.get(setting, '')}"
    else:
        return _NoNetwork(f"[nova] {setting}: there are no {kind}")
    return CloudRefused(f"[nova] {setting}{why}")


def _shown(found: str | bytes | Collection[str] | None) -> str:
    """What is set or was found, for a person."""
    if isinstance(found, bytes):
        return f"{len(found)} bytes"
    return found if isinstance(found, str) else ", ".join(found or ())


def _user_data(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CloudRefused(
            f"[nova] user_data: cannot read {path!r}: {error.strerror}"
        ) from None
