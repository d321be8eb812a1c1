"""What devices and floating IPs are made of: looked up once, and remembered.

Every look-up raises :class:`~poolmgr.errors.CloudRefused` when the thing is
not there, or there are several.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from poolmgr.drivers.base import Finding
from poolmgr.drivers.nova.calls import Call, Entry, Service, objects, path_of
from poolmgr.drivers.nova.failures import Refused, understood
from poolmgr.drivers.nova.once import Once
from poolmgr.drivers.nova.services import Services
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.drivers.nova.verb import Verb
from poolmgr.errors import CloudRefused
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

#: The setting of floating IPs; all others are of servers.
FLOATING_NETWORK = "floating_network"
#: What a thing is that is asked for by these, in words.
_SUCH = {"status": "active", "router:external": "external"}

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
        lookups: Mapping[str, Callable[[Verb], Any]] = {
            "image": self._image,
            "flavor": self._flavor,
            "networks": self._networks,
            "security_groups": self._security_groups,
            "key_name": self._key,
            "server_group": self._server_group,
            "user_data": self._user_data,
            "availability_zones": self._zones,
            FLOATING_NETWORK: self._external_network,
        }
        always = ("image", "flavor", "networks", FLOATING_NETWORK)
        self._parts = {
            setting: self._part(setting, look_up)
            for setting, look_up in lookups.items()
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
            shown, problem = "", None
            try:
                shown = _shown(part.get(timeout))
            except CloudRefused as error:
                problem = str(error)
                needs_ips = self._settings.device_floating_ip
                is_optional = setting == FLOATING_NETWORK and not needs_ips
                if is_optional and isinstance(error, NoNetwork):
                    problem = None
                    shown = "none, so there are no floating IPs"
            yield Finding(setting, value, shown, problem)

    def _part(self, setting: str, look_up: Callable[[Verb], Any]) -> Once[Any]:
        def find(timeout: float) -> Any:
            with understood(f"the question for {setting}"):
                return look_up(Verb(self._services, timeout))

        return Once(f"looking up {setting}", find)

    # -- look-ups -----------------------------------------------------------

    def _image(self, verb: Verb) -> str:
        wanted, such = self._settings.image, {"status": "active"}
        return _one(verb, "image", "image", "/images", wanted, such)

    def _flavor(self, verb: Verb) -> str:
        wanted = self._settings.flavor
        return _one(verb, "flavor", "compute", "/flavors", wanted)

    def _server_group(self, verb: Verb) -> str:
        wanted, path = str(self._settings.server_group), "/os-server-groups"
        return _one(verb, "server_group", "compute", path, wanted)

    def _networks(self, verb: Verb) -> list[str]:
        setting, path = "networks", "/networks"
        wanted = self._settings.networks
        if not wanted:
            return [_only_network(verb, setting, {"router:external": False})]
        return [_one(verb, setting, "network", path, n) for n in wanted]

    def _security_groups(self, verb: Verb) -> list[str]:
        setting, path = "security_groups", "/security-groups"
        wanted = self._settings.security_groups
        return [_one(verb, setting, "network", path, n) for n in wanted]

    def _external_network(self, verb: Verb) -> str:
        wanted, such = (
            self._settings.floating_network,
            {"router:external": True},
        )
        if not wanted:
            return _only_network(verb, FLOATING_NETWORK, such)
        path = "/networks"
        return _one(verb, FLOATING_NETWORK, "network", path, wanted, such)

    def _key(self, verb: Verb) -> str:
        wanted = str(self._settings.key_name)
        call = Call("GET", "compute", path_of("/os-keypairs", wanted))
        if verb.run_if_there(call) is None:
            raise CloudRefused(f"[nova] key_name: there is no {wanted!r}")
        return wanted

    def _zones(self, verb: Verb) -> Collection[str]:
        field = "availabilityZoneInfo"
        call = Call("GET", "compute", "/os-availability-zone", expects=field)
        there = {
            str(zone.get("zoneName"))
            for zone in objects(msgspec.json.decode(verb.run(call)[field]))
            if zone.get("zoneState") != {"available": False}
        }
        for zone in self._settings.availability_zones:
            # "zone:host" is for administrators; Nova will say.
            if zone.partition(":")[0] not in there:
                raise CloudRefused(
                    f"[nova] availability_zones: there is no {zone!r} "
                    f"(there are {', '.join(sorted(there)) or 'none'})"
                )
        return self._settings.availability_zones

    def _user_data(self, _verb: Verb) -> bytes:
        path = str(self._settings.user_data)
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise CloudRefused(
                f"[nova] user_data: cannot read {path!r}: {error.strerror}"
            ) from None


def _shown(found: str | bytes | Collection[str] | None) -> str:
    """What is set or was found, for a person."""
    if isinstance(found, bytes):
        return f"{len(found)} bytes"
    return found if isinstance(found, str) else ", ".join(found or ())


def _one(
    verb: Verb,
    setting: str,
    service: Service,
    path: str,
    wanted: str,
    such: Mapping[str, Any] = {},
) -> str:
    """Id of the one thing that has a name, or else that id.

    :param such: what it has to be besides
    """
    if not wanted:
        raise CloudRefused(f"[nova] {setting} is not set")
    # Nova cannot be asked for these by name or id.
    queries: Mapping[Service, list[dict[str, str]]] = {
        "compute": [{}],
        "network": [{"name": wanted}, {"id": wanted}],
        "image": [{"name": wanted}, {"id": f"in:{wanted}"}],
    }
    found: list[_Named] = []
    for query in queries[service]:
        call = Call("GET", service, path, {**query, **such})
        every = verb.read_list(call, _Named)
        found = [each for each in every if each.id == wanted]
        found = found or [each for each in every if each.name == wanted]
        if found:
            break
    if len(found) > 1:
        # Those of others are shared with us.
        project = verb.project_id()
        found = [f for f in found if f.project_id == project] or found
    if len(found) == 1:
        return found[0].id
    if found:
        raise CloudRefused(
            f"[nova] {setting}: {len(found)} are named {wanted!r}; give the "
            "id of the one that is meant"
        )
    besides = f" that is {_SUCH[next(iter(such))]}" if such else ""
    raise CloudRefused(f"[nova] {setting}: there is no {wanted!r}{besides}")


def _only_network(verb: Verb, setting: str, such: Mapping[str, Any]) -> str:
    """Id of the network there is."""
    found = verb.read_list(Call("GET", "network", "/networks", such), _Named)
    if len(found) == 1:
        return found[0].id
    kind = "external networks" if such["router:external"] else "networks"
    if not found:
        raise NoNetwork(f"[nova] {setting}: there are no {kind}")
    names = ", ".join(sorted(repr(n.name) for n in found)[:5])
    raise CloudRefused(
        f"[nova] {setting} is not set and there are {len(found)} {kind}"
        f" ({names}); name one"
    )
