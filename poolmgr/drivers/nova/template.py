"""What devices are made of: looked up once, and remembered."""

import base64
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Generic, TypeVar

from poolmgr.drivers.base import Finding
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.failures import understood
from poolmgr.drivers.nova.limits import held
from poolmgr.drivers.nova.lookups import Lookups, NoNetwork
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import CloudRefused

T = TypeVar("T")
LookUp = Callable[[], str | bytes | Sequence[str]]


class Remembered(Generic[T]):
    """Something that is looked up once, by one thread for all.

    :param what: what it is, for messages
    :param look_up: looks it up; what it raises is not remembered
    """

    def __init__(self, what: str, look_up: Callable[[], T]) -> None:
        self._what = what
        self._look_up = look_up
        self._lock = threading.Lock()
        self._value: T | None = None

    def get(self) -> T:
        """What it is; what :meth:`forget` forgot is looked up again."""
        value = self._value
        if value is None:
            with held(self._lock, f"looking up {self._what}"):
                value = self._value
                if value is None:
                    with understood(f"the question for {self._what}"):
                        value = self._value = self._look_up()
        return value

    def forget(self, value: T | None = None) -> None:
        """Look it up anew next time.

        :param value: what does not work; not what is known since then
        """
        if value is None or self._value is value:
            self._value = None


@dataclass(frozen=True)
class ServerTemplate:
    """What a request for a server has in it besides its name and its mark.

    :ivar server: fields of a POST /servers, all but the zone
    :ivar hints: scheduler hints
    :ivar zones: the zones to build in, in turn
    """

    server: Mapping[str, Any]
    hints: Mapping[str, str] = field(default_factory=dict)
    zones: Sequence[str] = ()
    _turn: Iterator[int] = field(default_factory=count, compare=False)

    def body(self, **fields: Any) -> dict[str, Any]:
        """The body of a request.

        :param fields: the server's own
        """
        server = {**self.server, **fields}
        if self.zones:
            zone = self.zones[next(self._turn) % len(self.zones)]
            server["availability_zone"] = zone
        hints = {"os:scheduler_hints": dict(self.hints)} if self.hints else {}
        return {"server": server, **hints}


class Parts:
    """Finds what devices and floating IPs are made of.

    :param api: the cloud
    :param settings: what to look for
    :ivar template: what servers are made from
    :ivar external_network: id of the network of the floating IPs
    """

    def __init__(self, api: Api, settings: NovaSettings) -> None:
        self._lookups = Lookups(api, settings)
        self._settings = settings
        self.template = Remembered("the devices' parts", self._template)
        self.external_network = Remembered(
            "the external network", self._lookups.external_network
        )

    def check(self) -> Iterator[Finding]:
        """Look every part up, and say what was found."""
        wrong = False
        for name, value, look_up in self._every():
            try:
                with understood(f"the question for {name}"):
                    found = look_up()
            except CloudRefused as error:
                wrong = True
                yield Finding(name, value, problem=str(error))
            else:
                yield Finding(name, value, _shown(found))
        if not wrong:
            # Whoever checks is about to build.
            self.template.get()

    # -- inside -------------------------------------------------------------

    def _template(self) -> ServerTemplate:
        cfg = self._settings
        server: dict[str, Any] = {
            "imageRef": self._lookups.image(),
            "flavorRef": self._lookups.flavor(),
            "networks": [{"uuid": n} for n in self._lookups.networks()],
        }
        if cfg.key_name:
            server["key_name"] = self._lookups.key()
        if cfg.security_groups:
            server["security_groups"] = [
                {"name": self._lookups.security_group(name)}
                for name in cfg.security_groups
            ]
        if cfg.config_drive:
            server["config_drive"] = True
        if cfg.user_data:
            data = self._lookups.user_data()
            server["user_data"] = base64.b64encode(data).decode("ascii")
        hints = {}
        if cfg.server_group:
            hints["group"] = self._lookups.server_group()
        return ServerTemplate(server, hints, self._lookups.zones())

    def _external_if_any(self) -> str:
        self.external_network.forget()
        try:
            return self.external_network.get()
        except NoNetwork:
            if self._settings.device_floating_ip:
                raise
            # A pool may do without floating IPs.
            return "none, so there are no floating IPs"

    def _every(self) -> Iterator[tuple[str, str, LookUp]]:
        """Every setting that names something: its name, value, look-up."""
        cfg, lookups = self._settings, self._lookups
        yield "image", cfg.image, lookups.image
        yield "flavor", cfg.flavor, lookups.flavor
        yield "networks", ", ".join(cfg.networks), lookups.networks
        for name in cfg.security_groups:
            group = partial(lookups.security_group, name)
            yield "security_groups", name, group
        optional: list[tuple[str, LookUp]] = [
            ("key_name", lookups.key),
            ("server_group", lookups.server_group),
            ("user_data", lookups.user_data),
        ]
        for setting, look_up in optional:
            if getattr(cfg, setting):
                yield setting, getattr(cfg, setting), look_up
        if cfg.availability_zones:
            zones = ", ".join(cfg.availability_zones)
            yield "availability_zones", zones, lookups.zones
        network = cfg.floating_network or ""
        yield "floating_network", network, self._external_if_any


def _shown(found: str | bytes | Sequence[str]) -> str:
    """What was found, for a person."""
    if isinstance(found, bytes):
        return f"{len(found)} bytes"
    return found if isinstance(found, str) else ", ".join(found)
