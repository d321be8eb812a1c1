"""Nova's servers, which are poolmgr's devices."""

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw

from poolmgr.drivers.base import Device, Driver, Poll
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.addresses import AddressRule
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.calls import (
    Call,
    checked_id,
    decoded,
    object_field,
    path_of,
)
from poolmgr.drivers.nova.devices import (
    NovaDevice,
    Server,
    completed,
    device_of,
)
from poolmgr.drivers.nova.entries import Entry, read_entries
from poolmgr.drivers.nova.failures import understood
from poolmgr.drivers.nova.limits import bounded, requests_sent
from poolmgr.drivers.nova.template import Remembered, ServerTemplate
from poolmgr.errors import CloudUnavailable
from poolmgr.ownership import Mark
from poolmgr.text.secrecy import masked

LOG = logging.getLogger(__name__)

#: Tags or names in one question, so that its address stays below 8 KiB.
_TAGS_A_CALL = 150
_NAMES_A_CALL = 60
_SERVERS = "/servers"


class Servers(Driver):
    """The verbs of a driver that are about devices.

    :ivar api: the cloud
    :ivar template: what servers are made from
    :ivar rule: which of a server's addresses is a device's
    :ivar metadata: written on every server besides the mark
    """

    api: Api
    template: Remembered[ServerTemplate]
    rule: AddressRule
    metadata: Mapping[str, str]

    @bounded
    def create_device(
        self, name: str, mark: Mark, timeout: float
    ) -> NovaDevice:
        """See :meth:`Driver.create_device`."""
        return self.template.use(
            lambda template: self._create_from(template, name, mark)
        )

    @bounded
    def list_devices(self, timeout: float) -> list[NovaDevice]:
        """See :meth:`Driver.list_devices`."""
        return self._servers({})

    @bounded
    def find_devices(
        self, names: Collection[str], timeout: float
    ) -> list[NovaDevice]:
        """See :meth:`Driver.find_devices`."""
        return self._named(names)

    @bounded
    def devices_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> list[NovaDevice]:
        """See :meth:`Driver.devices_of_jobs`."""
        found = self._tagged({marks.job_tag(unique) for unique in uniques})
        return [d for d in found if d.mark and d.mark.unique in uniques]

    @bounded
    def poll(self, devices: Collection[Device], timeout: float) -> Poll:
        """See :meth:`Driver.poll`."""
        known = {device.id: device for device in devices}
        marked = {d.id: d for d in devices if d.mark}
        unchanged: set[str] = set()
        if len(marked) > _TAGS_A_CALL:
            # Of a thousand that boot, hardly one has changed since the last
            # look: who still boots is told by one short list.
            unchanged = {
                id_
                for id_ in self._booting(marked.values())
                if id_ in marked and marked[id_].status == "building"
            }
        tags = {
            marks.own_tag(device.mark, device.name)
            for id_, device in marked.items()
            if device.mark and id_ not in unchanged
        }
        unmarked = {device.name for device in devices if not device.mark}
        found = self._tagged(tags) + self._named(unmarked)
        seen = [completed(each, known.get(each.id)) for each in found]
        return Poll(seen, unchanged, requests_sent())

    @bounded
    def get_device(self, id: str, timeout: float) -> NovaDevice | None:
        """See :meth:`Driver.get_device`.

        :raises CloudUnavailable: Nova shows it without its name or metadata
        """
        return self.fetch_server(id)

    @bounded
    def mark_device(self, device: Device, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_device`."""
        before = device.mark
        if before is None or before.unique != mark.unique:
            for tag in marks.tags_of(mark, device.name):
                path = path_of(_SERVERS, device.id, "tags", tag)
                self.api.run(Call("PUT", "compute", path))
        changes = marks.changes(mark, before)
        path = path_of(_SERVERS, device.id, "metadata")
        body = {"metadata": changes}
        answer = self.api.run(Call("POST", "compute", path, body=body))
        if changes.items() <= object_field(answer, "metadata").items():
            return
        seen = self.fetch_server(device.id)
        if seen is None or seen.mark != mark:
            raise CloudUnavailable(f"device {device.name!r} was not marked")

    @bounded
    def delete_device(self, device: Device, timeout: float) -> bool:
        """See :meth:`Driver.delete_device`."""
        call = Call("DELETE", "compute", path_of(_SERVERS, device.id))
        return self.api.run_if_there(call) is not None

    def servers_made_for(self, mark: Mark, name: str) -> list[NovaDevice]:
        """The servers that were made with this mark and name."""
        found = self._tagged({marks.own_tag(mark, name)})
        return [device for device in found if device.name == name]

    def fetch_server(self, id_: str) -> NovaDevice | None:
        """A server by its id; see :meth:`get_device`."""
        path = path_of(_SERVERS, id_)
        call = Call("GET", "compute", path, expects="server")
        answer = self.api.run_if_there(call)
        if answer is None:
            return None
        with understood(call):
            # It is the one that was asked for, whatever it says.
            fields = {**object_field(answer, "server"), "id": id_}
            again = Raw(msgspec.json.encode(fields))
            device = device_of(decoded(again, Server), self.rule)
        if device and (device.mark is marks.UNREADABLE or not device.name):
            raise CloudUnavailable(
                f"the answer to {call} has no name or no metadata"
            )
        return device

    def console(self, device: Device, lines: int) -> str:
        """The last lines of a server's console."""
        path = path_of(_SERVERS, device.id, "action")
        body = {"os-getConsoleOutput": {"length": lines}}
        answer = self.api.run(Call("POST", "compute", path, body=body))
        output = decoded(answer.get("output", Raw(b"null")), Any)
        return masked(output) if isinstance(output, str) else ""

    # -- inside -------------------------------------------------------------

    def _create_from(
        self, template: ServerTemplate, name: str, mark: Mark
    ) -> NovaDevice:
        call = Call(
            "POST",
            "compute",
            _SERVERS,
            body=template.body(
                name=name,
                metadata={**self.metadata, **marks.metadata_of(mark)},
                tags=marks.tags_of(mark, name),
            ),
            expects="server",
            creates=True,
        )
        with understood(call, creates=True):
            made = object_field(self.api.run(call), "server")
            id_ = checked_id(made["id"])
        now = datetime.now(UTC).isoformat(timespec="seconds")
        own_ip = marks.says_own_ip(self.metadata)
        return NovaDevice(
            id_, name, "building", None, now, mark=mark, own_ip=own_ip
        )

    def _named(self, names: Collection[str]) -> list[NovaDevice]:
        found = []
        for some in parted(names, _NAMES_A_CALL):
            # Nova's filter is a regular expression, and its databases may
            # not mind the case. It takes "|" for an ordinary letter, so that
            # each of the names is there or not; what else matches is nobody's.
            each = "".join(f"({re.escape(name)})?" for name in some)
            found += self._servers({"name": f"^{each}$"})
        return [device for device in found if device.name in names]

    def _tagged(self, tags: Collection[str]) -> list[NovaDevice]:
        found = []
        for some in parted(tags, _TAGS_A_CALL):
            found += self._servers({"tags-any": ",".join(some)})
        return found

    def _booting(self, devices: Iterable[Device]) -> Iterator[str]:
        """Ids of all servers that boot, of the pools of these devices."""
        for pool in sorted({d.mark.pool for d in devices if d.mark}):
            query = {"status": "BUILD", "tags": marks.pool_tag(pool)}
            call = Call("GET", "compute", _SERVERS, query)
            yield from (each.id for each in self.api.read_list(call, Entry))

    def _servers(self, query: Mapping[str, str]) -> list[NovaDevice]:
        call = Call("GET", "compute", "/servers/detail", query)
        servers = self.api.read_list(call, Server)
        found = read_entries(
            "servers", servers, partial(device_of, rule=self.rule)
        )
        return [device for device in found if device is not None]


def parted(items: Collection[str], size: int) -> Iterator[list[str]]:
    """The items sorted, so many at a time."""
    order = sorted(items)
    for start in range(0, len(order), size):
        yield order[start : start + size]
