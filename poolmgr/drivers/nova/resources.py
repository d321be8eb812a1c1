"""The resources that settings name: image, flavor, networks and so on.

Each is looked up once and remembered.  A look-up raises
:class:`~poolmgr.errors.CloudRefused` unless exactly one resource matches.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from poolmgr.drivers.base import Finding
from poolmgr.drivers.nova.api import Api, Entry
from poolmgr.drivers.nova.calls import ApiCall, Refused, path_of
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import Busy, CloudRefused

#: The setting of floating IPs; all others are of servers.
FLOATING_NETWORK = "floating_network"
#: For each setting that names a resource, the list that has it.
_LISTS = {
    "image": ApiCall("GET", "image", "/images", {"status": "active"}),
    "flavor": ApiCall("GET", "compute", "/flavors"),
    "networks": ApiCall("GET", "network", "/networks"),
    "security_groups": ApiCall("GET", "network", "/security-groups"),
    "server_group": ApiCall("GET", "compute", "/os-server-groups"),
    FLOATING_NETWORK: ApiCall(
        "GET", "network", "/networks", {"router:external": True}
    ),
}
_KINDS = {"image": "active images", FLOATING_NETWORK: "external networks"}
#: In the order in which they are checked.
_SETTINGS = (
    *("image", "flavor", "networks", "security_groups", "key_name"),
    *("server_group", "user_data", "availability_zones", FLOATING_NETWORK),
)
_REQUIRED = ("image", "flavor", "networks", FLOATING_NETWORK)


class _NoNetwork(CloudRefused):
    """The setting is unset, and the cloud has no network to choose."""


class _Named(Entry, gc=False):
    """An image, a flavor, a network and so on in a list."""

    name: str | None = None
    project_id: str | None = None


class _Zone(msgspec.Struct):
    """An availability zone in Nova's list."""

    name: str = msgspec.field(name="zoneName")


class ConfiguredResources:
    """Looks up the resources that the settings name.

    :param api: the cloud's services
    :param settings: the group ``[nova]``
    :ivar of_servers: the settings that name resources of a server
    """

    def __init__(self, api: Api, settings: NovaSettings) -> None:
        self._api = api
        self._settings = settings
        self._used = [
            setting
            for setting in _SETTINGS
            if setting in _REQUIRED or getattr(settings, setting)
        ]
        self.of_servers = [n for n in self._used if n != FLOATING_NETWORK]
        self._found: dict[str, Any] = {}

    @contextmanager
    def used(
        self, settings: Iterable[str], timeout: float
    ) -> Iterator[dict[str, Any]]:
        """Yield the resources that settings name, by setting, for a creation.

        An image, a flavor or a network may have been replaced by another of
        the same name. The cloud then refuses the id of the old one, so all
        are looked up again after a refusal.

        :raises Busy: a resource has changed, so the creation can be repeated
        """
        resources = self._look_up_all(settings, timeout)
        try:
            yield resources
        except Refused as refused:
            if refused.status in (400, 404):
                self._found.clear()
                if self._look_up_all(resources, timeout) != resources:
                    raise Busy(str(refused)) from refused
            raise

    def check(self, timeout: float) -> Iterator[Finding]:
        """Look every resource up again and yield the results."""
        self._found.clear()
        has_own_ips = self._settings.device_floating_ip
        for setting in self._used:
            value = _to_text(getattr(self._settings, setting))
            found, problem = "", None
            try:
                found = _to_text(self._resource(setting, timeout))
            except CloudRefused as error:
                problem = str(error)
                is_needed = setting != FLOATING_NETWORK or has_own_ips
                if isinstance(error, _NoNetwork) and not is_needed:
                    found, problem = "none, so there are no floating IPs", None
            yield Finding(setting, value, found, problem)

    def _look_up_all(
        self, settings: Iterable[str], timeout: float
    ) -> dict[str, Any]:
        return {name: self._resource(name, timeout) for name in settings}

    def _resource(self, setting: str, timeout: float) -> Any:
        """Return the id, ids or content that a setting names."""
        if setting not in self._found:
            try:
                self._found[setting] = self._look_up(setting, timeout)
            except CloudRefused as error:
                # Not a new error: callers need its class and status.
                error.args = (f"[nova] {setting}: {error}",)
                raise
        return self._found[setting]

    def _look_up(self, setting: str, timeout: float) -> Any:
        value = getattr(self._settings, setting)
        if setting == "key_name":
            return self._check_key(value, timeout)
        if setting == "user_data":
            return _read_user_data(value)
        if setting == "availability_zones":
            return self._check_zones(value, timeout)
        if isinstance(value, tuple):
            # An empty name chooses the only network.
            names = value or ("",)
            return [self._find(setting, name, timeout) for name in names]
        return self._find(setting, value or "", timeout)

    def _check_key(self, name: str, timeout: float) -> str:
        path = path_of("/os-keypairs", name)
        if not self._api.exists(ApiCall("GET", "compute", path), timeout):
            raise CloudRefused(f"{name!r} not found")
        return name

    def _check_zones(
        self, zones: Collection[str], timeout: float
    ) -> Collection[str]:
        path, field = "/os-availability-zone", "availabilityZoneInfo"
        call = ApiCall("GET", "compute", path, expects=field)
        found = self._api.read(call, list[_Zone], timeout)
        names = {zone.name for zone in found}
        for zone in zones:
            # Only administrators may use "zone:host"; Nova checks the host.
            if zone.partition(":")[0] not in names:
                known = ", ".join(sorted(names))
                raise CloudRefused(f"{zone!r} not found among {known}")
        return zones

    def _find(self, setting: str, name: str, timeout: float) -> str:
        """Return the id of the only resource that has a name or id.

        :param name: empty for the only network
        """
        if not name and _LISTS[setting].service != "network":
            raise CloudRefused("it is not set")
        found = self._match(setting, name, timeout)
        if name:
            # The project's own resources take precedence over shared ones.
            project = self._api.login.project_id(timeout)
            found = [e for e in found if e.project_id == project] or found
        if len(found) == 1:
            return found[0].id
        kind = _KINDS.get(setting, setting.replace("_", " ").rstrip("s") + "s")
        if not found and not name:
            raise _NoNetwork(f"there are no {kind}")
        if not found:
            raise CloudRefused(f"{name!r} not found among the {kind}")
        names = ", ".join(f"{each.name!r} ({each.id})" for each in found[:5])
        some = f"{len(found)} {kind}"
        some = f"{some} match" if name else f"it is not set; there are {some}"
        raise CloudRefused(f"{some}: {names}; set one of the ids")

    def _match(self, setting: str, name: str, timeout: float) -> list[_Named]:
        """List the resources with an id, or else those with a name."""
        filters: list[dict[str, Any]] = [{}]
        if setting == "image":
            # A cloud may have thousands of public images, and Glance does
            # not filter by "name or id".
            filters = [{"name": name}, {"id": f"in:{name}"}]
        elif setting == "networks" and not name:
            filters = [{"router:external": False}]
        call, entries = _LISTS[setting], []
        for each in filters:
            query = replace(call, params={**(call.params or {}), **each})
            entries += self._api.read_list(query, _Named, timeout)
        by_id = [entry for entry in entries if name in ("", entry.id)]
        return by_id or [entry for entry in entries if entry.name == name]


def _to_text(value: str | bytes | Collection[str] | None) -> str:
    """Return the value of a setting, or a resource, as a text for people."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return value if isinstance(value, str) else ", ".join(value or ())


def _read_user_data(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CloudRefused(f"cannot read {path!r}: {error.strerror}") from None
