"""A server, like Nova's."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from poolmgr.testing.openstack.fault import Fate
from poolmgr.testing.openstack.seeds import (
    PROJECT_ID,
    USER_ID,
    Json,
    Network,
    now_text,
)


@dataclass
class Server:
    """A server with cached JSON; use :meth:`change` to change it.

    :ivar url: the URL of the compute service, without the version
    :ivar flavor: the flavor's JSON
    :ivar networks: the networks; it gets a port on each
    :ivar security_groups: the names of its security groups
    :ivar group: the id of its server group
    :ivar fate: the later effect of a fault
    :ivar deleting: whether its deletion was requested
    """

    id: str
    url: str
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
    fault: Json | None = None
    addresses: Json = field(default_factory=dict)
    deleting: bool = False

    def change(self, **values: Any) -> None:
        """Change attributes."""
        self.__dict__.update(values, updated=now_text())
        self.__dict__.pop("text", None)

    def fail(self, message: str) -> None:
        """Set its status to ERROR."""
        fault = {"code": 500, "created": now_text(), "message": message}
        self.change(status="ERROR", task_state=None, fault=fault)

    @property
    def vm_state(self) -> str:
        """Nova's internal name of its state."""
        return "building" if self.status == "BUILD" else self.status.lower()

    @property
    def links(self) -> list[Json]:
        """The links to it."""
        return [
            {"rel": "self", "href": f"{self.url}/v2.1/servers/{self.id}"},
            {"rel": "bookmark", "href": f"{self.url}/servers/{self.id}"},
        ]

    @cached_property
    def text(self) -> str:
        """Its JSON, cached until the next change."""
        return json.dumps({**self._described(), **self._states()})

    def _described(self) -> Json:
        """Return the fields of microversion 2.79 and later."""
        flavor = {k: self.flavor[k] for k in ("vcpus", "ram", "disk", "swap")}
        image = f"{self.url}/images/{self.image_id}"
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "addresses": self.addresses,
            "metadata": self.metadata,
            "tags": self.tags,
            "created": self.created,
            "updated": self.updated,
            "image": {
                "id": self.image_id,
                "links": [{"rel": "bookmark", "href": image}],
            },
            "flavor": {
                **flavor,
                "ephemeral": 0,
                "original_name": self.flavor["name"],
                "extra_specs": {},
            },
            "links": self.links,
            "key_name": self.key_name,
            "server_groups": [self.group] if self.group else [],
            "config_drive": "True" if self.config_drive else "",
            "tenant_id": PROJECT_ID,
            "user_id": USER_ID,
        }

    def _states(self) -> Json:
        launched: Json = {"hostId": ""}
        if self.launched_at is not None:
            names = self.security_groups
            groups = [{"name": name} for name in names]
            launched = {"hostId": USER_ID, "security_groups": groups}
        fault = {} if self.fault is None else {"fault": self.fault}
        return {
            **launched,
            **fault,
            "status": self.status,
            "OS-EXT-STS:task_state": self.task_state,
            "OS-EXT-STS:vm_state": self.vm_state,
            "OS-EXT-STS:power_state": 1 if self.status == "ACTIVE" else 0,
            "OS-EXT-AZ:availability_zone": self.availability_zone,
            "OS-SRV-USG:launched_at": self.launched_at,
            "OS-SRV-USG:terminated_at": None,
        }
