"""Nova's servers, which are poolmgr's devices."""

import base64
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from poolmgr.drivers.base import Device, Driver, Poll
from poolmgr.drivers.nova import marks, shown
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.calls import Call, Entry, object_field, path_of
from poolmgr.drivers.nova.failures import understood
from poolmgr.drivers.nova.parts import Parts
from poolmgr.drivers.nova.services import Services
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.drivers.nova.shown import NovaDevice, Server
from poolmgr.errors import CloudUnavailable
from poolmgr.ownership import Mark
from poolmgr.text.secrecy import masked

#: Names, tags, ids in one question, so that its address stays below 8 KiB.
A_QUESTION = 60
_SERVERS = "/servers"


class Servers(Driver):
    """The verbs of a driver that are about devices.

    :ivar settings: the group ``[nova]``
    :ivar services: the cloud's
    :ivar parts: what servers are made of
    :ivar zones: the zones to build in, in turn; empty for any
    """

    services: Services
    parts: Parts
    zones: Iterator[str]
    settings: NovaSettings

    def create_device(
        self, name: str, mark: Mark, timeout: float
    ) -> NovaDevice:
        """See :meth:`Driver.create_device`."""
        api = Api(self.services, timeout)
        metadata = dict(e.split("=", 1) for e in self.settings.metadata)
        if own_ip := self.settings.device_floating_ip:
            metadata |= marks.OWN_IP

        def create(found: Mapping[str, Any]) -> str:
            body = self._body(found)
            body["server"] |= {
                "name": name,
                "metadata": {**metadata, **marks.metadata_of(mark)},
                "tags": marks.tags_of(mark, name),
            }
            call = Call("POST", "compute", _SERVERS, body=body)
            return api.create(call, Entry).id

        id_ = self.parts.use(self.parts.of_servers, timeout, create)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return NovaDevice(
            id_, name, "building", None, now, mark=mark, own_ip=own_ip
        )

    def list_devices(self, timeout: float) -> list[NovaDevice]:
        """See :meth:`Driver.list_devices`."""
        return self._servers(Api(self.services, timeout), {})

    def find_devices(
        self, names: Collection[str], timeout: float
    ) -> list[NovaDevice]:
        """See :meth:`Driver.find_devices`."""
        return self._named(Api(self.services, timeout), names)

    def devices_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> list[NovaDevice]:
        """See :meth:`Driver.devices_of_jobs`."""
        tags = {marks.job_tag(unique) for unique in uniques}
        found = self._tagged(Api(self.services, timeout), tags)
        return [d for d in found if d.mark and d.mark.unique in uniques]

    def poll(self, devices: Collection[Device], timeout: float) -> Poll:
        """See :meth:`Driver.poll`."""
        api = Api(self.services, timeout)
        known = {device.id: device for device in devices}
        marked = [device for device in devices if device.mark]
        unchanged: set[str] = set()
        if len(marked) > A_QUESTION:
            # Of a thousand that boot, hardly one has changed since the last
            # look: who still boots is told by one short list.
            building = {d.id for d in marked if d.status == "building"}
            unchanged = building.intersection(self._booting(api, marked))
        tags = {
            marks.own_tag(device.mark, device.name)
            for device in marked
            if device.mark and device.id not in unchanged
        }
        unmarked = {device.name for device in devices if not device.mark}
        found = self._tagged(api, tags) + self._named(api, unmarked)
        seen = [shown.completed(each, known.get(each.id)) for each in found]
        return Poll(seen, unchanged, api.calls)

    def get_device(self, id: str, timeout: float) -> NovaDevice | None:
        """See :meth:`Driver.get_device`.

        :raises CloudUnavailable: Nova shows it without its name or metadata
        """
        call = Call("GET", "compute", path_of(_SERVERS, id), expects="server")
        answer = Api(self.services, timeout).run_if_there(call)
        if answer is None:
            return None
        with understood(call):
            # It is the one that was asked for, whatever it says.
            fields = {**object_field(answer, "server"), "id": id}
            device = shown.device_of(
                msgspec.convert(fields, Server), self.settings
            )
        if device and (device.mark is marks.UNREADABLE or not device.name):
            raise CloudUnavailable(
                f"the answer to {call} has no name or no metadata"
            )
        return device

    def mark_device(self, device: Device, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_device`."""
        api, before = Api(self.services, timeout), device.mark
        if before is None or before.unique != mark.unique:
            for tag in marks.tags_of(mark, device.name):
                path = path_of(_SERVERS, device.id, "tags", tag)
                api.run(Call("PUT", "compute", path))
        changes = marks.changes(mark, before)
        path = path_of(_SERVERS, device.id, "metadata")
        body = {"metadata": changes}
        answer = api.run(Call("POST", "compute", path, body=body))
        if changes.items() <= object_field(answer, "metadata").items():
            return
        seen = self.get_device(device.id, timeout)
        if seen is None or seen.mark != mark:
            raise CloudUnavailable(f"device {device.name!r} was not marked")

    def delete_device(self, device: Device, timeout: float) -> bool:
        """See :meth:`Driver.delete_device`."""
        call = Call("DELETE", "compute", path_of(_SERVERS, device.id))
        return Api(self.services, timeout).run_if_there(call) is not None

    def console(self, device: Device, lines: int, timeout: float) -> str:
        """The last lines of a server's console."""
        path = path_of(_SERVERS, device.id, "action")
        body = {"os-getConsoleOutput": {"length": lines}}
        call = Call("POST", "compute", path, body=body)
        answer = Api(self.services, timeout).run(call)
        output = msgspec.json.decode(answer.get("output", b"null"))
        return masked(output) if isinstance(output, str) else ""

    # -- inside -------------------------------------------------------------

    def _body(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """What a request for a server has in it besides its name and mark.

        :param found: the parts
        """
        server: dict[str, Any] = {
            "imageRef": found["image"],
            "flavorRef": found["flavor"],
            "networks": [{"uuid": id_} for id_ in found["networks"]],
        }
        if "security_groups" in found:
            groups = [{"name": id_} for id_ in found["security_groups"]]
            server["security_groups"] = groups
        if "key_name" in found:
            server["key_name"] = found["key_name"]
        if "user_data" in found:
            encoded = base64.b64encode(found["user_data"])
            server["user_data"] = encoded.decode()
        if self.settings.config_drive:
            server["config_drive"] = True
        if zone := next(self.zones):
            server["availability_zone"] = zone
        if "server_group" not in found:
            return {"server": server}
        hints = {"group": found["server_group"]}
        return {"server": server, "os:scheduler_hints": hints}

    def _named(self, api: Api, names: Collection[str]) -> list[NovaDevice]:
        found = []
        for some in parted(names):
            # Nova's filter is a regular expression, and its databases may
            # not mind the case. It takes "|" for an ordinary letter, so that
            # each of the names is there or not; what else matches is nobody's.
            each = "".join(f"({re.escape(name)})?" for name in some)
            found += self._servers(api, {"name": f"^{each}$"})
        return [device for device in found if device.name in names]

    def _tagged(self, api: Api, tags: Collection[str]) -> list[NovaDevice]:
        found = []
        for some in parted(tags):
            found += self._servers(api, {"tags-any": ",".join(some)})
        return found

    def _booting(self, api: Api, devices: Iterable[Device]) -> Iterator[str]:
        """Ids of all servers that boot, of the pools of these devices."""
        for pool in sorted({d.mark.pool for d in devices if d.mark}):
            query = {"status": "BUILD", "tags": marks.pool_tag(pool)}
            call = Call("GET", "compute", _SERVERS, query)
            yield from (each.id for each in api.read_list(call, Entry))

    def _servers(self, api: Api, query: Mapping[str, str]) -> list[NovaDevice]:
        call = Call("GET", "compute", "/servers/detail", query)
        servers = api.read_list(call, Server)
        found = [shown.device_of(each, self.settings) for each in servers]
        return [device for device in found if device is not None]


def parted(items: Collection[str]) -> Iterator[list[str]]:
    """The items sorted, as many at a time as fit into a question."""
    order = sorted(items)
    for start in range(0, len(order), A_QUESTION):
        yield order[start : start + A_QUESTION]
