"""What devices are made of: looked up once, and remembered."""

import base64
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Generic, TypeVar

from poolmgr.drivers.base import Finding
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.failures import Refused, understood
from poolmgr.drivers.nova.limits import holding
from poolmgr.drivers.nova.lookups import Lookups, NoNetwork
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import CloudRefused

LOG = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
LookUp = Callable[[], str | bytes | Sequence[str]]
#: A setting, and what was found for it.
Part = tuple[str, Any]


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
            with holding(self._lock, f"looking up {self._what}"):
                value = self._value
                if value is None:
                    with understood(f"the question for {self._what}"):
                        value = self._value = self._look_up()
        return value

    def use(self, work: Callable[[T], R]) -> R:
        """Do something with it; once more if it was replaced meanwhile.

        An image, a flavor or a network may have been replaced by one of its
        name: then the cloud refuses the old one's id.
        """
        value = self.get()
        try:
            return work(value)
        except Refused as error:
            if error.status not in (400, 404):
                raise
            self.forget(value)
            again = self.get()
            if again == value:
                raise
            LOG.info("%s: refused and looked up again", self._what)
            return work(again)

    def set(self, value: T) -> None:
        """It was looked up by other means."""
        self._value = value

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
        self.template = Remembered(
            "the devices' parts", self._look_up_template
        )
        self.external_network = Remembered(
            "the external network", self._lookups.external_network
        )

    def check(self) -> Iterator[Finding]:
        """Look every part up, and say what was found."""
        parts: list[Part] = []
        problems = 0
        every = [*self._lookups_of_servers(), self._lookup_of_ips()]
        for name, value, look_up in every:
            try:
                with understood(f"the question for {name}"):
                    found = look_up()
            except CloudRefused as error:
                problems += 1
                yield Finding(name, value, problem=str(error))
            else:
                parts.append((name, found))
                yield Finding(name, value, _shown(found))
        if not problems:
            # Whoever checks is about to build.
            self.template.set(_make_template(parts, self._settings))

    # -- inside -------------------------------------------------------------

    def _look_up_template(self) -> ServerTemplate:
        every = self._lookups_of_servers()
        parts = [(name, look_up()) for name, _value, look_up in every]
        return _make_template(parts, self._settings)

    def _lookups_of_servers(self) -> Iterator[tuple[str, str, LookUp]]:
        """Every setting that names a part of servers: its name, value,
        look-up."""
        cfg, lookups = self._settings, self._lookups
        yield "image", cfg.image, lookups.image
        yield "flavor", cfg.flavor, lookups.flavor
        yield "networks", ", ".join(cfg.networks), lookups.networks
        for name in cfg.security_groups:
            group = partial(lookups.security_group, name)
            yield "security_groups", name, group
        if cfg.key_name:
            yield "key_name", cfg.key_name, lookups.key
        if cfg.server_group:
            yield "server_group", cfg.server_group, lookups.server_group
        if cfg.user_data:
            yield "user_data", cfg.user_data, lookups.user_data
        if cfg.availability_zones:
            zones = ", ".join(cfg.availability_zones)
            yield "availability_zones", zones, lookups.zones

    def _lookup_of_ips(self) -> tuple[str, str, LookUp]:
        def look_up() -> str:
            self.external_network.forget()
            try:
                return self.external_network.get()
            except NoNetwork:
                if self._settings.device_floating_ip:
                    raise
                # A pool may do without floating IPs.
                return "none, so there are no floating IPs"

        network = self._settings.floating_network or ""
        return "floating_network", network, look_up


def _make_template(
    parts: Sequence[Part], settings: NovaSettings
) -> ServerTemplate:
    found = dict(parts)
    server = {
        "imageRef": found["image"],
        "flavorRef": found["flavor"],
        "networks": [{"uuid": network} for network in found["networks"]],
    }
    if "key_name" in found:
        server["key_name"] = found["key_name"]
    groups = [
        {"name": id_} for name, id_ in parts if name == "security_groups"
    ]
    if groups:
        server["security_groups"] = groups
    if settings.config_drive:
        server["config_drive"] = True
    if "user_data" in found:
        server["user_data"] = base64.b64encode(found["user_data"]).decode()
    group = found.get("server_group")
    hints = {"group": group} if group else {}
    return ServerTemplate(server, hints, found.get("availability_zones", ()))


def _shown(found: str | bytes | Sequence[str]) -> str:
    """What was found, for a person."""
    if isinstance(found, bytes):
        return f"{len(found)} bytes"
    return found if isinstance(found, str) else ", ".join(found)
