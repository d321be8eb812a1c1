"""A server, as Nova has it."""

import json
from dataclasses import dataclass, field
from typing import Any

from poolmgr.testing.openstack.clock import now_text
from poolmgr.testing.openstack.fault import Fate
from poolmgr.testing.openstack.seeds import PROJECT_ID, USER_ID, Network

Json = dict[str, Any]

_POWER = {"BUILD": 0, "ACTIVE": 1}
_VM_STATE = {"BUILD": "building"}


@dataclass
class Server:
    """A server; change it by :meth:`change`, for it keeps its JSON.

    :ivar flavor: the flavor's JSON
    :ivar networks: to get a port on each
    :ivar security_groups: their names
    :ivar group: id of its server group
    :ivar fate: what a fault has in store for it
    :ivar deleting: whether its deletion was asked for
    """

    id: str
    name: str
    flavor: Json
    image_id: str
    networks: list[Network]
    key_name: str | None = None
    availability_zone: str = ""
    pinned_zone: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    security_groups: list[str] = field(default_factory=list)
    group: str | None = None
    config_drive: bool = False
    description: str | None = None
    fate: Fate = field(default_factory=Fate)
    status: str = "BUILD"
    task_state: str | None = "scheduling"
    created: str = field(default_factory=now_text)
    updated: str = field(default_factory=now_text)
    launched_at: str | None = None
    terminated_at: str | None = None
    fault: Json | None = None
    addresses: Json = field(default_factory=dict)
    deleting: bool = False
    _text: str | None = None

    def change(self, **values: Any) -> None:
        """Give it new values."""
        for name, value in values.items():
            setattr(self, name, value)
        self.updated = now_text()
        self._text = None

    def fail(self, message: str, code: int = 500) -> None:
        """Put it into ERROR."""
        fault = {"code": code, "created": now_text(), "message": message}
        self.change(status="ERROR", task_state=None, fault=fault)

    @property
    def vm_state(self) -> str:
        """Nova's inner name of its state."""
        return _VM_STATE.get(self.status, self.status.lower())

    def links(self, url: str) -> list[Json]:
        """Where it is to be found.

        :param url: compute's, without the version
        """
        return [
            {"rel": "self", "href": f"{url}/v2.1/servers/{self.id}"},
            {"rel": "bookmark", "href": f"{url}/servers/{self.id}"},
        ]

    def text(self, url: str) -> str:
        """Its whole JSON; made anew only after a change."""
        if self._text is None:
            self._text = json.dumps(self.shown(url))
        return self._text

    def shown(self, url: str) -> Json:
        """As Nova shows it from microversion 2.79 on.

        :param url: compute's, without the version
        """
        shown = {
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "addresses": self.addresses,
            "metadata": self.metadata,
            "tags": self.tags,
            "created": self.created,
            "updated": self.updated,
            "image": self._image(url),
            "flavor": self._flavor(),
            "links": self.links(url),
            "key_name": self.key_name,
            **self._details(),
            **self._states(),
        }
        if self.launched_at is not None:
            names = self.security_groups
            shown["security_groups"] = [{"name": name} for name in names]
        if self.fault is not None:
            shown["fault"] = self.fault
        return shown

    def _details(self) -> Json:
        return {
            "description": self.description,
            "server_groups": [self.group] if self.group else [],
            "config_drive": "True" if self.config_drive else "",
            "hostId": "" if self.launched_at is None else USER_ID,
            "tenant_id": PROJECT_ID,
            "user_id": USER_ID,
            "accessIPv4": "",
            "accessIPv6": "",
        }

    def _states(self) -> Json:
        return {
            "OS-EXT-STS:task_state": self.task_state,
            "OS-EXT-STS:vm_state": self.vm_state,
            "OS-EXT-STS:power_state": _POWER.get(self.status, 0),
            "OS-EXT-AZ:availability_zone": self.availability_zone,
            "OS-SRV-USG:launched_at": self.launched_at,
            "OS-SRV-USG:terminated_at": self.terminated_at,
            "OS-DCF:diskConfig": "MANUAL",
            "os-extended-volumes:volumes_attached": [],
            "trusted_image_certificates": None,
            "progress": 0,
            "locked": False,
            "locked_reason": None,
        }

    def _image(self, url: str) -> Json:
        href = f"{url}/images/{self.image_id}"
        return {
            "id": self.image_id,
            "links": [{"rel": "bookmark", "href": href}],
        }

    def _flavor(self) -> Json:
        shown = {key: self.flavor[key] for key in ("vcpus", "ram", "disk")}
        return {
            **shown,
            "ephemeral": 0,
            "swap": 0,
            "original_name": self.flavor["name"],
            "extra_specs": {},
        }
