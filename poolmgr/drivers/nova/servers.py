"""Nova's servers, which are poolmgr's devices."""

import base64
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from poolmgr.drivers.base import Device, Driver, Poll
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.api import Api, Entry, path_of, text
from poolmgr.drivers.nova.calls import Call, Refused
from poolmgr.drivers.nova.devices import (
    NO_REASON,
    NovaDevice,
    Server,
    device_of,
)
from poolmgr.drivers.nova.parts import Parts
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import CloudError, CloudUnavailable
from poolmgr.ownership import Mark
from poolmgr.text import one_line
from poolmgr.text.secrecy import masked

LOG = logging.getLogger(__name__)

#: Names, tags, ids in one question, so that its address stays below 8 KiB.
A_QUESTION = 60
#: Servers on one page of Nova's lists.
_PAGE = 1000
_SERVERS = "/servers"


class Servers(Driver):
    """The verbs of a driver that are about devices.

    :ivar settings: the group ``[nova]``
    :ivar api: the cloud's services
    :ivar parts: what servers are made of
    :ivar zones: the zones to build in, in turn; empty for any
    """

    settings: NovaSettings
    api: Api
    parts: Parts
    zones: Iterator[str]

    def create_device(self, name: str, mark: Mark, timeout: float) -> Device:
        """See :meth:`Driver.create_device`."""
        own_ip = self.settings.device_floating_ip
        metadata = dict(e.split("=", 1) for e in self.settings.metadata)
        metadata |= marks.OWN_IP if own_ip else {}
        named = {
            "name": name,
            "metadata": metadata | marks.metadata_of(mark),
            "tags": marks.tags_of(mark, name),
        }
        found = self.parts.get(self.parts.of_servers, timeout)
        try:
            made = self._create_server(named, found, timeout)
        except Refused as error:
            found = self.parts.get_again(found, error, timeout)
            made = self._create_server(named, found, timeout)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return NovaDevice(
            made.id, name, "building", None, now, mark=mark, own_ip=own_ip
        )

    def list_devices(self, timeout: float) -> list[NovaDevice]:
        """See :meth:`Driver.list_devices`."""
        return self._servers([{}], timeout)

    def find_devices(
        self, names: Collection[str], timeout: float
    ) -> list[NovaDevice]:
        """See :meth:`Driver.find_devices`."""
        found = self._servers(_by_name(names), timeout)
        return [device for device in found if device.name in names]

    def devices_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> list[NovaDevice]:
        """See :meth:`Driver.devices_of_jobs`."""
        tags = {marks.job_tag(unique) for unique in uniques}
        found = self._servers(_by_tag(tags), timeout)
        return [d for d in found if d.mark and d.mark.unique in uniques]

    def poll(self, devices: Collection[Device], timeout: float) -> Poll:
        """See :meth:`Driver.poll`."""
        booting: set[str] = set()
        if len(devices) > A_QUESTION:
            # Of a thousand that boot, hardly one has changed since the last
            # poll: who still boots is told by one short list.
            booting = self._booting(devices, timeout)
        unchanged = {
            device.id
            for device in devices
            if device.status == "building" and device.id in booting
        }
        rest = [device for device in devices if device.id not in unchanged]
        tags = {marks.own_tag(d.mark, d.name) for d in rest if d.mark}
        names = {device.name for device in rest if not device.mark}
        queries = [*_by_tag(tags), *_by_name(names)]
        seen = []
        for each in self._servers(queries, timeout):
            if each.is_whole:
                seen.append(each)
            else:
                # Nova does not tell at the moment, as of a cell that is down.
                unchanged.add(each.id)
        requests = len(queries) + -(-len(booting) // _PAGE)
        return Poll(seen, unchanged, requests)

    def get_device(self, id: str, timeout: float) -> Device | None:
        """See :meth:`Driver.get_device`.

        :raises CloudUnavailable: Nova shows it without its name or metadata
        """
        call = Call("GET", "compute", path_of(_SERVERS, id), expects="server")
        try:
            shown = self.api.read(call, dict[str, Any], timeout)
        except Refused as error:
            if error.status != 404:
                raise
            return None
        # It is the one that was asked for, whatever it says.
        server = msgspec.convert({**shown, "id": id}, Server)
        device = device_of(server, self.settings)
        if device and not device.is_whole:
            raise CloudUnavailable(
                f"the answer to {call} has no name or no metadata"
            )
        return device

    def explain_failure(self, device: Device, timeout: float) -> str:
        """See :meth:`Driver.explain_failure`."""
        fault, console = device.fault or NO_REASON, ""
        try:
            if fault == NO_REASON:
                # Some clouds show it of a single server only.
                seen = self.get_device(device.id, timeout)
                fault = (seen and seen.fault) or fault
            if lines := self.settings.console_lines:
                console = self._console(device, lines, timeout)
        except CloudError as error:
            LOG.info("no details of device %s: %s", device.name, error)
        for line in console.splitlines():
            LOG.warning("console of %s: %s", device.name, one_line(line))
        return (
            f"{fault}; its console: {one_line(console)}" if console else fault
        )

    def mark_device(self, device: Device, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_device`."""
        before = device.mark
        if before is None or before.unique != mark.unique:
            for tag in marks.tags_of(mark, device.name):
                path = path_of(_SERVERS, device.id, "tags", tag)
                self.api.run(Call("PUT", "compute", path), timeout)
        changes = marks.changes(mark, before)
        path = path_of(_SERVERS, device.id, "metadata")
        body = {"metadata": changes}
        call = Call("POST", "compute", path, body=body, expects="metadata")
        now = self.api.read(call, dict[str, Any], timeout)
        if not changes.items() <= now.items():
            raise CloudUnavailable(f"device {device.name!r} was not marked")

    def delete_device(self, device: Device, timeout: float) -> bool:
        """See :meth:`Driver.delete_device`."""
        call = Call("DELETE", "compute", path_of(_SERVERS, device.id))
        return self.api.exists(call, timeout)

    # -- inside -------------------------------------------------------------

    def _create_server(
        self,
        named: Mapping[str, Any],
        found: Mapping[str, Any],
        timeout: float,
    ) -> Entry:
        """Ask for a server.

        :param named: its name and its mark
        :param found: its parts
        """
        server: dict[str, Any] = {
            **named,
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
        body: dict[str, Any] = {"server": server}
        if "server_group" in found:
            body["os:scheduler_hints"] = {"group": found["server_group"]}
        call = Call("POST", "compute", _SERVERS, body=body)
        return self.api.create(call, Entry, timeout)

    def _servers(
        self, queries: Iterable[Mapping[str, str]], timeout: float
    ) -> list[NovaDevice]:
        found: list[NovaDevice] = []
        for query in queries:
            call = Call("GET", "compute", "/servers/detail", query)
            servers = self.api.read_list(call, Server, timeout)
            devices = (device_of(each, self.settings) for each in servers)
            found += filter(None, devices)
        return found

    def _booting(self, devices: Iterable[Device], timeout: float) -> set[str]:
        """Ids of all servers that boot, of the pools of these devices."""
        found: set[str] = set()
        for pool in {device.mark.pool for device in devices if device.mark}:
            query = {"status": "BUILD", "tags": marks.pool_tag(pool)}
            call = Call("GET", "compute", _SERVERS, query)
            found |= {e.id for e in self.api.read_list(call, Entry, timeout)}
        return found

    def _console(self, device: Device, lines: int, timeout: float) -> str:
        path = path_of(_SERVERS, device.id, "action")
        body = {"os-getConsoleOutput": {"length": lines}}
        call = Call("POST", "compute", path, body=body)
        answer = self.api.run(call, timeout)
        output = msgspec.json.decode(answer.get("output", b"null"))
        return masked(text(output))


def parted(items: Collection[str]) -> Iterator[list[str]]:
    """The items sorted, as many at a time as fit into a question."""
    order = sorted(items)
    for start in range(0, len(order), A_QUESTION):
        yield order[start : start + A_QUESTION]


def _by_tag(tags: Collection[str]) -> Iterator[dict[str, str]]:
    """The questions for servers with one of these tags."""
    for some in parted(tags):
        yield {"tags-any": ",".join(some)}


def _by_name(names: Collection[str]) -> Iterator[dict[str, str]]:
    """The questions for servers with one of these names, and perhaps more.

    Nova's filter is a regular expression, and its databases may not mind the
    case.  It takes "|" for an ordinary letter, so that each of the names is
    there or not; what else matches is nobody's.
    """
    for some in parted(names):
        each = "".join(f"({re.escape(name)})?" for name in some)
        yield {"name": f"^{each}$"}
