"""What devices are made of: the settings' names, found in the cloud."""

import base64
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from poolmgr.drivers.base import Finding
from poolmgr.drivers.nova.api import Api, Call, Service
from poolmgr.drivers.nova.failures import Refused
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import CloudRefused
from poolmgr.waiting import Deadline

#: Largest user data that Nova takes, in bytes before base64.
#: https://docs.openstack.org/api-ref/compute/#create-server
_MOST_USER_DATA = 49149
LookUp = Callable[[Deadline], str | bytes | Sequence[str]]
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True)
class Parts:
    """The ids of what devices are made of.

    :ivar server: fields of a POST /servers, all but name, zone and marks
    :ivar hints: scheduler hints
    :ivar zones: the zones to build in, in turn
    """

    server: Mapping[str, Any]
    hints: Mapping[str, str] = field(default_factory=dict)
    zones: Sequence[str] = ()


class Blueprint:
    """Finds the parts, once, and again when the cloud says they are wrong.

    :param api: the cloud
    :param settings: what to look for
    """

    def __init__(self, api: Api, settings: NovaSettings) -> None:
        self._api = api
        self._settings = settings
        self._lock = threading.Lock()
        self._parts: Parts | None = None
        self._external: str | None = None
        self._turn = count()

    def parts(self, deadline: Deadline) -> Parts:
        """The parts, looked up when they are not known yet.

        :raises CloudRefused: something is not there
        """
        parts = self._parts
        if parts is None:
            with self._lock:
                if self._parts is None:
                    self._parts = self._look_up(deadline)
                parts = self._parts
        return parts

    def forget(self, parts: Parts) -> None:
        """Look the parts up anew next time: these did not work."""
        with self._lock:
            if self._parts is parts:
                self._parts = None

    def zone(self, parts: Parts) -> str | None:
        """The next zone, None when Nova is to choose."""
        zones = parts.zones
        return zones[next(self._turn) % len(zones)] if zones else None

    def check(self, deadline: Deadline) -> Iterator[Finding]:
        """Look every part up, and say what was found."""
        wrong = False
        for name, value, look_up in self._lookups():
            try:
                found = look_up(deadline)
            except CloudRefused as error:
                wrong = True
                yield Finding(name, value, problem=str(error))
            else:
                yield Finding(name, value, _shown(found))
        if not wrong:
            # Whoever checks is about to build.
            self.parts(deadline)

    def external_network(self, deadline: Deadline) -> str:
        """Id of the network that floating IPs are taken from.

        :raises CloudRefused: there is none, or several and none was named
        """
        if self._external is None:
            with self._lock:
                if self._external is None:
                    self._external = self._find_external(deadline)
        return self._external

    def forget_external_network(self) -> None:
        """Look it up anew next time: the one that was known did not work."""
        self._external = None

    # -- inside -------------------------------------------------------------

    def _look_up(self, deadline: Deadline) -> Parts:
        cfg = self._settings
        server: dict[str, Any] = {
            "imageRef": self._image(deadline),
            "flavorRef": self._flavor(deadline),
            "networks": [{"uuid": n} for n in self._networks(deadline)],
        }
        if cfg.key_name:
            server["key_name"] = self._key(deadline)
        if cfg.security_groups:
            server["security_groups"] = [
                {"name": self._security_group(name, deadline)}
                for name in cfg.security_groups
            ]
        if cfg.config_drive:
            server["config_drive"] = True
        if cfg.user_data:
            data = self._user_data(deadline)
            server["user_data"] = base64.b64encode(data).decode("ascii")
        hints = {}
        if cfg.server_group:
            hints["group"] = self._server_group(deadline)
        return Parts(server, hints, self._zones(deadline))

    def _find_external(self, deadline: Deadline) -> str:
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

    def _lookups(
        self,
    ) -> Iterator[tuple[str, str, LookUp]]:
        """Every setting that names something: its name, value, look-up."""
        cfg = self._settings
        yield "image", cfg.image, self._image
        yield "flavor", cfg.flavor, self._flavor
        yield "networks", ", ".join(cfg.networks), self._networks
        for name in cfg.security_groups:
            yield "security_groups", name, partial(self._security_group, name)
        optional: list[tuple[str, LookUp]] = [
            ("key_name", self._key),
            ("server_group", self._server_group),
            ("user_data", self._user_data),
        ]
        for setting, look_up in optional:
            if getattr(cfg, setting):
                yield setting, getattr(cfg, setting), look_up
        if cfg.availability_zones:
            zones = ", ".join(cfg.availability_zones)
            yield "availability_zones", zones, self._zones
        network = cfg.floating_network or ""
        yield "floating_network", network, self._find_external

    def _image(self, deadline: Deadline) -> str:
        wanted = self._settings.image
        _needed("image", wanted)
        found = self._listed("image", "/images", {"name": wanted}, deadline)
        if not found and _UUID.fullmatch(wanted):
            found = self._image_by_id(f"/images/{wanted}", deadline)
        active = [image for image in found if image["status"] == "active"]
        if found and not active:
            raise CloudRefused(
                f"[nova] image: {wanted!r} is {found[0]['status']}, not active"
            )
        return _one("image", wanted, active)

    def _flavor(self, deadline: Deadline) -> str:
        wanted = self._settings.flavor
        _needed("flavor", wanted)
        flavors = self._listed("compute", "/flavors", {}, deadline)
        named = [f for f in flavors if f["name"] == wanted]
        by_id = [f for f in flavors if f["id"] == wanted]
        return _one("flavor", wanted, by_id or named)

    def _networks(self, deadline: Deadline) -> list[str]:
        wanted = self._settings.networks
        if not wanted:
            return [self._only_network(False, "networks", deadline)]
        return [self._network("networks", name, deadline) for name in wanted]

    def _network(self, setting: str, wanted: str, deadline: Deadline) -> str:
        return self._neutron(setting, "/networks", wanted, deadline)

    def _security_group(self, wanted: str, deadline: Deadline) -> str:
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
        names = ", ".join(sorted(repr(n["name"]) for n in found)[:5])
        raise CloudRefused(
            f"[nova] {setting} is not set and there are {len(found)} {kind}"
            f"{f' ({names})' if names else ''}; name one"
        )

    def _key(self, deadline: Deadline) -> str:
        wanted = str(self._settings.key_name)
        path = f"/os-keypairs/{quote(wanted, safe='')}"
        try:
            self._api.get("compute", path, deadline)
        except Refused as error:
            if error.status != 404:
                raise
            raise _Missing("key_name", wanted) from None
        return wanted

    def _server_group(self, deadline: Deadline) -> str:
        wanted = str(self._settings.server_group)
        groups = self._listed("compute", "/os-server-groups", {}, deadline)
        named = [g for g in groups if g["name"] == wanted]
        by_id = [g for g in groups if g["id"] == wanted]
        return _one("server_group", wanted, by_id or named)

    def _zones(self, deadline: Deadline) -> Sequence[str]:
        wanted = self._settings.availability_zones
        if wanted:
            answer = self._api.get(
                "compute",
                "/os-availability-zone",
                deadline,
                expects="availabilityZoneInfo",
            )
            there = {
                zone["zoneName"]
                for zone in answer["availabilityZoneInfo"]
                if zone["zoneState"]["available"]
            }
            for zone in wanted:
                # "zone:host" is for administrators; Nova will say.
                if zone.partition(":")[0] not in there:
                    raise CloudRefused(
                        f"[nova] availability_zones: there is no {zone!r} "
                        f"(there are {', '.join(sorted(there))})"
                    )
        return wanted

    def _user_data(self, deadline: Deadline) -> bytes:
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
    ) -> list[dict[str, Any]]:
        call = Call("GET", service, path, query)
        return list(self._api.pages(call, deadline))

    def _image_by_id(
        self, path: str, deadline: Deadline
    ) -> list[dict[str, Any]]:
        try:
            return [self._api.get("image", path, deadline)]
        except Refused as error:
            if error.status != 404:
                raise
            return []


def _needed(setting: str, value: str) -> None:
    if not value:
        raise CloudRefused(f"[nova] {setting} is not set")


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


def _shown(found: str | bytes | Sequence[str]) -> str:
    """What was found, for a person."""
    if isinstance(found, bytes):
        return f"{len(found)} bytes"
    return found if isinstance(found, str) else ", ".join(found)
