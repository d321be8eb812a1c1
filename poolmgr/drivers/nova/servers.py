"""The methods of the driver for devices: Nova's servers."""

import base64
import logging
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from poolmgr.drivers.base import Device, Driver, Poll
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.api import Api, Entry
from poolmgr.drivers.nova.calls import ApiCall, Refused, path_of
from poolmgr.drivers.nova.devices import NovaDevice, Server, device_of
from poolmgr.drivers.nova.resources import ConfiguredResources
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import CloudError, CloudUnavailable
from poolmgr.ownership import Mark
from poolmgr.text import one_line
from poolmgr.text.secrecy import masked

LOG = logging.getLogger(__name__)

#: Names, tags or ids in one request, so that its URL stays below 8 KiB.
BATCH = 60
#: Servers on one page of Nova's lists, unless its max_limit was changed.
_PAGE = 1000
_SERVERS = "/servers"


class Servers(Driver):
    """The methods of the driver for devices.

    :ivar settings: the group ``[nova]``
    :ivar api: the cloud's services
    :ivar resources: the resources that the settings name
    :ivar zones: the availability zones, in turn; an empty one lets Nova choose
    """

    settings: NovaSettings
    api: Api
    resources: ConfiguredResources
    zones: Iterator[str]

    def create_device(self, name: str, mark: Mark, timeout: float) -> Device:
        """See :meth:`Driver.create_device`."""
        has_own_ip = self.settings.device_floating_ip
        metadata = dict(e.split("=", 1) for e in self.settings.metadata)
        metadata |= marks.OWN_IP if has_own_ip else {}
        # Last, so that nothing overwrites the mark.
        metadata |= marks.metadata_of(mark)
        names = self.resources.of_servers
        with self.resources.used(names, timeout) as resources:
            body = self._body(resources)
            body["server"] |= {
                "name": name,
                "metadata": metadata,
                "tags": marks.tags_of(mark, name),
            }
            call = ApiCall(
                "POST", "compute", _SERVERS, body=body, expects="server"
            )
            created = self.api.read(call, Entry, timeout)
        # Nova does not answer a creation time yet.
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return NovaDevice(
            created.id, name, "building", None, now, None, mark, has_own_ip
        )

    def list_devices(self, timeout: float) -> list[NovaDevice]:
        """See :meth:`Driver.list_devices`."""
        return self._read_servers([{}], timeout)

    def find_devices(
        self, names: Collection[str], timeout: float
    ) -> list[NovaDevice]:
        """See :meth:`Driver.find_devices`."""
        found = self._read_servers(_by_name(names), timeout)
        return [device for device in found if device.name in names]

    def devices_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> list[NovaDevice]:
        """See :meth:`Driver.devices_of_jobs`."""
        tags = {marks.job_tag(unique) for unique in uniques}
        found = self._read_servers(_by_tag(tags), timeout)
        return [d for d in found if d.mark and d.mark.unique in uniques]

    def poll(self, devices: Collection[Device], timeout: float) -> Poll:
        """See :meth:`Driver.poll`."""
        building: set[str] = set()
        if len(devices) > BATCH:
            # Few of a thousand devices change between two polls. One short
            # list finds those that have not.
            building = self._list_building(devices, timeout)
        unchanged = building & {device.id for device in devices}
        rest = [device for device in devices if device.id not in unchanged]
        tags = {marks.own_tag(d.mark, d.name) for d in rest if d.mark}
        names = {device.name for device in rest if not device.mark}
        queries = [*_by_tag(tags), *_by_name(names)]
        seen = self._read_servers(queries, timeout)
        requests = len(queries) + math.ceil(len(building) / _PAGE)
        return Poll(seen, unchanged, requests)

    def get_device(self, id: str, timeout: float) -> Device | None:
        """See :meth:`Driver.get_device`.

        :raises CloudUnavailable: the server's cell is down
        """
        call = ApiCall(
            "GET", "compute", path_of(_SERVERS, id), expects="server"
        )
        try:
            server = self.api.read(call, Server, timeout)
        except Refused as error:
            if error.status != 404:
                raise
            return None
        return device_of(server, self.settings)

    def explain_failure(self, device: Device, timeout: float) -> str:
        """See :meth:`Driver.explain_failure`."""
        fault, lines = device.fault, self.settings.console_lines
        if not fault:
            # Some clouds show the fault of a single server only.
            shown = self.get_device(device.id, timeout)
            fault = (shown and shown.fault) or "Nova gave no reason"
        if not lines:
            return fault
        path = path_of(_SERVERS, device.id, "action")
        body = {"os-getConsoleOutput": {"length": lines}}
        call = ApiCall("POST", "compute", path, body=body, expects="output")
        try:
            console = masked(self.api.read(call, str, timeout))
        except CloudError:  # Some servers have no console.
            return fault
        end = console.splitlines()[-lines:]
        for line in end:
            LOG.warning("console of %s: %s", device.name, one_line(line))
        text = one_line("\n".join(end))
        return f"{fault}; its console: {text}" if text else fault

    def mark_device(self, device: Device, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_device`."""
        before = device.mark
        # Tags first: a device with a mark is looked for by its tags.
        if before is None or before.unique != mark.unique:
            for tag in marks.tags_of(mark, device.name):
                path = path_of(_SERVERS, device.id, "tags", tag)
                self.api.run(ApiCall("PUT", "compute", path), timeout)
        changes = marks.changes(mark, before)
        path = path_of(_SERVERS, device.id, "metadata")
        body = {"metadata": changes}
        call = ApiCall("POST", "compute", path, body=body, expects="metadata")
        now = self.api.read(call, dict[str, Any], timeout)
        # The reaper would delete a device whose hand-over was lost.
        if not changes.items() <= now.items():
            raise CloudUnavailable(f"device {device.name!r} was not marked")

    def delete_device(self, device: Device, timeout: float) -> bool:
        """See :meth:`Driver.delete_device`."""
        call = ApiCall("DELETE", "compute", path_of(_SERVERS, device.id))
        return self.api.exists(call, timeout)

    # -- inside -------------------------------------------------------------

    def _body(self, resources: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of a request for a server without its name.

        :param resources: what the settings name
        """
        groups = resources.get("security_groups", ())
        user_data = base64.b64encode(resources.get("user_data", b"")).decode()
        options = {
            # Nova passes the name on to Neutron, which accepts an id.
            "security_groups": [{"name": id_} for id_ in groups],
            "key_name": resources.get("key_name"),
            "user_data": user_data,
            "config_drive": self.settings.config_drive,
            "availability_zone": next(self.zones),
        }
        server: dict[str, Any] = {
            "imageRef": resources["image"],
            "flavorRef": resources["flavor"],
            "networks": [{"uuid": id_} for id_ in resources["networks"]],
            **{name: value for name, value in options.items() if value},
        }
        body: dict[str, Any] = {"server": server}
        if group := resources.get("server_group"):
            body["os:scheduler_hints"] = {"group": group}
        return body

    def _read_servers(
        self, queries: Iterable[Mapping[str, str]], timeout: float
    ) -> list[NovaDevice]:
        found: list[NovaDevice] = []
        for query in queries:
            call = ApiCall("GET", "compute", "/servers/detail", query)
            servers = self.api.read_list(call, Server, timeout)
            devices = (device_of(each, self.settings) for each in servers)
            found += filter(None, devices)
        return found

    def _list_building(
        self, devices: Iterable[Device], timeout: float
    ) -> set[str]:
        """Return the ids of all building servers of these devices' pools."""
        found: set[str] = set()
        for pool in {device.mark.pool for device in devices if device.mark}:
            query = {"status": "BUILD", "tags": marks.pool_tag(pool)}
            call = ApiCall("GET", "compute", _SERVERS, query)
            found |= {e.id for e in self.api.read_list(call, Entry, timeout)}
        return found


def batches(items: Collection[str]) -> Iterator[list[str]]:
    """Yield the items in sorted batches that fit into one request."""
    order = sorted(items)
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


def _by_tag(tags: Collection[str]) -> Iterator[dict[str, str]]:
    """Yield the queries for servers with one of these tags."""
    for batch in batches(tags):
        yield {"tags-any": ",".join(batch)}


def _by_name(names: Collection[str]) -> Iterator[dict[str, str]]:
    """Yield the queries for servers with one of these names, and some others.

    Nova's filter is a regular expression.  The databases behind it differ:
    some ignore the case, and some take "|" for an ordinary character.  So
    each name is an optional group.
    """
    for batch in batches(names):
        groups = "".join(f"({re.escape(name)})?" for name in batch)
        yield {"name": f"^{groups}$"}
