"""What devices are made of: looked up once, and remembered."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from poolmgr.drivers.base import Finding
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.catalog import Catalog, NoNetwork
from poolmgr.drivers.nova.failures import understood
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.drivers.turns import Turns
from poolmgr.errors import CloudRefused
from poolmgr.waiting import Deadline

LookUp = Callable[[Deadline], str | bytes | Sequence[str]]


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
        self._catalog = Catalog(api, settings)
        self._settings = settings
        self._turns = Turns()
        self._parts: Parts | None = None
        self._external: str | None = None
        self._turn = count()

    def parts(self, deadline: Deadline) -> Parts:
        """The parts, looked up when they are not known yet.

        :raises CloudRefused: something is not there
        """
        parts = self._parts
        if parts is None:
            with self._turns.of("the devices' parts", deadline):
                parts = self._parts
                if parts is None:
                    with understood("the question for the devices' parts"):
                        parts = self._look_up(deadline)
                    self._parts = parts
        return parts

    def forget(self, parts: Parts) -> None:
        """Look the parts up anew next time: these did not work."""
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
                with understood(f"the question for {name}"):
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
        network = self._external
        if network is None:
            with self._turns.of("the external network", deadline):
                network = self._external
                if network is None:
                    with understood("the question for external networks"):
                        network = self._catalog.external_network(deadline)
                    self._external = network
        return network

    def forget_external_network(self) -> None:
        """Look it up anew next time: the one that was known did not work."""
        self._external = None

    # -- inside -------------------------------------------------------------

    def _look_up(self, deadline: Deadline) -> Parts:
        cfg = self._settings
        server: dict[str, Any] = {
            "imageRef": self._catalog.image(deadline),
            "flavorRef": self._catalog.flavor(deadline),
            "networks": [
                {"uuid": n} for n in self._catalog.networks(deadline)
            ],
        }
        if cfg.key_name:
            server["key_name"] = self._catalog.key(deadline)
        if cfg.security_groups:
            server["security_groups"] = [
                {"name": self._catalog.security_group(name, deadline)}
                for name in cfg.security_groups
            ]
        if cfg.config_drive:
            server["config_drive"] = True
        if cfg.user_data:
            data = self._catalog.user_data(deadline)
            server["user_data"] = base64.b64encode(data).decode("ascii")
        hints = {}
        if cfg.server_group:
            hints["group"] = self._catalog.server_group(deadline)
        return Parts(server, hints, self._catalog.zones(deadline))

    def _external_if_any(self, deadline: Deadline) -> str:
        self.forget_external_network()
        try:
            return self.external_network(deadline)
        except NoNetwork:
            if self._settings.device_floating_ip:
                raise
            # A pool may do without floating IPs.
            return "none, so there are no floating IPs"

    def _lookups(
        self,
    ) -> Iterator[tuple[str, str, LookUp]]:
        """Every setting that names something: its name, value, look-up."""
        cfg = self._settings
        yield "image", cfg.image, self._catalog.image
        yield "flavor", cfg.flavor, self._catalog.flavor
        yield "networks", ", ".join(cfg.networks), self._catalog.networks
        for name in cfg.security_groups:
            yield (
                "security_groups",
                name,
                partial(self._catalog.security_group, name),
            )
        optional: list[tuple[str, LookUp]] = [
            ("key_name", self._catalog.key),
            ("server_group", self._catalog.server_group),
            ("user_data", self._catalog.user_data),
        ]
        for setting, look_up in optional:
            if getattr(cfg, setting):
                yield setting, getattr(cfg, setting), look_up
        if cfg.availability_zones:
            zones = ", ".join(cfg.availability_zones)
            yield "availability_zones", zones, self._catalog.zones
        network = cfg.floating_network or ""
        yield "floating_network", network, self._external_if_any


def _shown(found: str | bytes | Sequence[str]) -> str:
    """What was found, for a person."""
    if isinstance(found, bytes):
        return f"{len(found)} bytes"
    return found if isinstance(found, str) else ", ".join(found)
