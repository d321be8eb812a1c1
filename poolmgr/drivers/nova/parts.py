"""What devices and floating IPs are made of: looked up once, and remembered.

Every look-up raises :class:`~poolmgr.errors.CloudRefused` when the thing is
not there, or there are several.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from poolmgr.drivers.base import Finding
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.calls import Call, Entry, Service, objects, path_of
from poolmgr.drivers.nova.failures import Refused, understood
from poolmgr.drivers.nova.once import Once
from poolmgr.drivers.nova.services import Services
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import CloudRefused
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

#: The setting of floating IPs; all others are of servers.
FLOATING_NETWORK = "floating_network"
_ZONES = "availability_zones"
_EXTERNAL = {"router:external": True}
#: Which service has a list of what a setting names, and what it has to be
#: besides, for the service and in words.
_THINGS: dict[str, tuple[Service, str, Mapping[str, Any], str]] = {
    "image": ("image", "/images", {"status": "active"}, " (must be active)"),
    "flavor": ("compute", "/flavors", {}, ""),
    "networks": ("network", "/networks", {}, ""),
    "security_groups": ("network", "/security-groups", {}, ""),
    "server_group": ("compute", "/os-server-groups", {}, ""),
    FLOATING_NETWORK: (
        "network",
        "/networks",
        _EXTERNAL,
        " (must be external)",
    ),
}
#: All settings that name something, in the order in which they are checked.
_SETTINGS = (
    *("image", "flavor", "networks", "security_groups", "key_name"),
    *("server_group", "user_data", _ZONES, FLOATING_NETWORK),
)

R = TypeVar("R")


class NoNetwork(CloudRefused):
    """The cloud has no network of the kind."""


class _Named(Entry, gc=False):
    """What has a name: an image, a flavor, a network and so on."""

    name: Any = None
    project_id: Any = None


class Parts:
    """All that the settings name.

    :param services: the cloud's
    :param settings: what to look for
    :ivar of_servers: names of the settings that servers are made of
    """

    def __init__(self, services: Services, settings: NovaSettings) -> None:
        self._services = services
        self._settings = settings
        always = ("image", "flavor", "networks", FLOATING_NETWORK)
        self._parts = {
            setting: Once(
                f"looking up {setting}", partial(self._look_up, setting)
            )
            for setting in _SETTINGS
            if setting in always or getattr(settings, setting)
        }
        self.of_servers = [n for n in self._parts if n != FLOATING_NETWORK]

    def use(
        self,
        settings: Collection[str],
        timeout: float,
        work: Callable[[Mapping[str, Any]], R],
    ) -> R:
        """Do something with parts; once more if one was replaced.

        An image, a flavor or a network may have been replaced by one of its
        name: then the cloud refuses the old one's id.

        :param settings: which parts
        :param work: is given what was found for each setting
        """
        parts = {setting: self._parts[setting] for setting in settings}
        found = {name: part.get(timeout) for name, part in parts.items()}
        try:
            return work(found)
        except Refused as error:
            if error.status not in (400, 404):
                raise
            for name, part in parts.items():
                part.forget(found[name])
            again = {name: part.get(timeout) for name, part in parts.items()}
            if again == found:
                raise
            LOG.info("refused, and done again: %s", one_line(str(error)))
            return work(again)

    def check(self, timeout: float) -> Iterator[Finding]:
        """Look every part up, and say what was found."""
        for setting, part in self._parts.items():
            part.forget()
            value = _shown(getattr(self._settings, setting))
            try:
                finding = Finding(setting, value, _shown(part.get(timeout)))
            except CloudRefused as error:
                finding = Finding(setting, value, problem=str(error))
                is_optional = not self._settings.device_floating_ip
                is_optional &= setting == FLOATING_NETWORK
                if is_optional and isinstance(error, NoNetwork):
                    none = "none, so there are no floating IPs"
                    finding = Finding(setting, value, none)
            yield finding

    # -- look-ups -----------------------------------------------------------

    def _look_up(self, setting: str, timeout: float) -> Any:
        api = Api(self._services, timeout)
        wanted = getattr(self._settings, setting)
        with understood(f"the question for {setting}"):
            if setting == "key_name":
                return _key(api, wanted)
            if setting == "user_data":
                return _user_data(wanted)
            if setting == _ZONES:
                return _zones(api, wanted)
            if isinstance(wanted, tuple) and wanted:
                return [_one(api, setting, each) for each in wanted]
            if setting == "networks":
                return [_only_network(api, setting)]
            if setting == FLOATING_NETWORK and not wanted:
                return _only_network(api, setting)
            return _one(api, setting, wanted)


def _shown(found: str | bytes | Collection[str] | None) -> str:
    """What is set or was found, for a person."""
    if isinstance(found, bytes):
        return f"{len(found)} bytes"
    return found if isinstance(found, str) else ", ".join(found or ())


def _key(api: Api, wanted: str) -> str:
    try:
        call = Call("GET", "compute", path_of("/os-keypairs", wanted))
    except CloudRefused as error:
        raise CloudRefused(f"[nova] key_name: {error}") from None
    if api.run_if_there(call) is None:
        raise CloudRefused(f"[nova] key_name: {wanted!r} not found")
    return wanted


def _zones(api: Api, wanted: Collection[str]) -> Collection[str]:
    field = "availabilityZoneInfo"
    call = Call("GET", "compute", "/os-availability-zone", expects=field)
    there = {
        str(zone.get("zoneName"))
        for zone in objects(msgspec.json.decode(api.run(call)[field]))
        if zone.get("zoneState") != {"available": False}
    }
    for zone in wanted:
        # "zone:host" is for administrators; Nova will say.
        if zone.partition(":")[0] not in there:
            raise CloudRefused(
                f"[nova] availability_zones: {zone!r} not found "
                f"(there are {', '.join(sorted(there)) or 'none'})"
            )
    return wanted


def _user_data(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CloudRefused(
            f"[nova] user_data: cannot read {path!r}: {error.strerror}"
        ) from None


def _one(api: Api, setting: str, wanted: str) -> str:
    """Id of the one thing that has a name, or else that id."""
    if not wanted:
        raise CloudRefused(f"[nova] {setting} is not set")
    service, path, such, words = _THINGS[setting]
    # Nova cannot be asked for these by name or id.
    queries: Mapping[Service, list[dict[str, str]]] = {
        "compute": [{}],
        "network": [{"name": wanted}, {"id": wanted}],
        "image": [{"name": wanted}, {"id": f"in:{wanted}"}],
    }
    found: list[_Named] = []
    for query in queries[service]:
        call = Call("GET", service, path, {**query, **such})
        every = api.read_list(call, _Named)
        found = [each for each in every if each.id == wanted]
        found = found or [each for each in every if each.name == wanted]
        if found:
            break
    if len(found) > 1:
        # Those of others are shared with us.
        project = api.project_id()
        found = [f for f in found if f.project_id == project] or found
    if len(found) == 1:
        return found[0].id
    if found:
        raise CloudRefused(
            f"[nova] {setting}: {len(found)} resources are named {wanted!r}: "
            "use the id"
        )
    raise CloudRefused(f"[nova] {setting}: {wanted!r} not found{words}")


def _only_network(api: Api, setting: str) -> str:
    """Id of the network there is."""
    is_external = setting == FLOATING_NETWORK
    call = Call(
        "GET", "network", "/networks", {"router:external": is_external}
    )
    found = api.read_list(call, _Named)
    if len(found) == 1:
        return found[0].id
    kind = "external networks" if is_external else "networks"
    if not found:
        raise NoNetwork(f"[nova] {setting}: there are no {kind}")
    names = ", ".join(sorted(repr(n.name) for n in found)[:5])
    raise CloudRefused(
        f"[nova] {setting} is not set and there are {len(found)} {kind}"
        f" ({names}); name one"
    )
