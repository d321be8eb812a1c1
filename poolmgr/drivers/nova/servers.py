"""Nova's servers, which are poolmgr's devices."""

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypedDict

from poolmgr.cloud.lookups import parted
from poolmgr.drivers.base import Device, Status
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.addresses import AddressRule
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.blueprint import Blueprint, Parts
from poolmgr.drivers.nova.calls import Call
from poolmgr.drivers.nova.entries import needed, text, usable
from poolmgr.drivers.nova.failures import Refused, Unavailable, understood
from poolmgr.drivers.nova.lost import Creation
from poolmgr.drivers.nova.paths import checked_id, path_of
from poolmgr.errors import before_creating
from poolmgr.ownership import Mark
from poolmgr.secrecy import masked
from poolmgr.text import one_line
from poolmgr.waiting import Deadline

LOG = logging.getLogger(__name__)

#: Tags or names in one question, so that its address stays below 8 KiB.
_TAGS_A_CALL = 150
_NAMES_A_CALL = 60
#: Longest text of a fault that is kept, in characters.
_LONGEST_FAULT = 500

#: A fault without a text.
NO_REASON = "Nova gave no reason"

_SERVERS = "/servers"
_GONE = ("DELETED", "SOFT_DELETED")
# What is none of these, as UNKNOWN of a cell that cannot be asked at present,
# says nothing of the device: it is waited for.
# https://docs.openstack.org/api-guide/compute/server_concepts.html
_STATUSES: dict[str, Status] = {
    "BUILD": "building",
    "ACTIVE": "active",
    "HARD_REBOOT": "active",
    "MIGRATING": "active",
    "PASSWORD": "active",
    "REBOOT": "active",
    "RESIZE": "active",
    "VERIFY_RESIZE": "active",
    "ERROR": "failed",
    "PAUSED": "failed",
    "REBUILD": "failed",
    "RESCUE": "failed",
    "REVERT_RESIZE": "failed",
    "SHELVED": "failed",
    "SHELVED_OFFLOADED": "failed",
    "SHUTOFF": "failed",
    "SUSPENDED": "failed",
}


class _Server(TypedDict, total=False):
    """What is read of a server.

    https://docs.openstack.org/api-ref/compute/#list-servers-detailed
    """

    id: Any
    name: Any
    status: Any
    addresses: Any
    metadata: Any
    created: Any
    fault: Any


class _Listed(TypedDict, total=False):
    servers: list[_Server]
    servers_links: Any


@dataclass(frozen=True)
class NovaDevice(Device):
    """A device, and what only this driver asks of it.

    :ivar own_ip: whether it has a floating IP that goes with it
    """

    own_ip: bool = False


@dataclass(frozen=True)
class Servers:
    """Calls about servers.

    :ivar api: the cloud
    :ivar blueprint: what servers are made of
    :ivar rule: which of a server's addresses is a device's
    :ivar metadata: written on every server besides the mark
    """

    api: Api
    blueprint: Blueprint
    rule: AddressRule
    metadata: Mapping[str, str]

    def create(self, name: str, mark: Mark, deadline: Deadline) -> Device:
        """Make a server; see :meth:`poolmgr.drivers.base.Driver`."""
        with before_creating():
            deadline.check(f"creating device {name!r}")
            parts = self.blueprint.parts(deadline)
        try:
            return self._create_once(name, mark, parts, deadline)
        except Refused as error:
            if error.status != 400:
                raise
            # An image or a flavor may have been replaced by one of its name.
            self.blueprint.forget(parts)
            again = self.blueprint.parts(deadline)
            if again == parts:
                raise
            LOG.info("Nova refused what it had before; looked it up again")
            return self._create_once(name, mark, again, deadline)

    def all(self, deadline: Deadline) -> list[Device]:
        """Every server of the project."""
        return list(self._listed({}, deadline))

    def named(
        self, names: Collection[str], deadline: Deadline
    ) -> Mapping[str, list[Device]]:
        """The servers of exactly these names, by name."""
        found: defaultdict[str, list[Device]] = defaultdict(list)
        for device in self._named(names, deadline):
            found[device.name].append(device)
        return found

    def _named(
        self, names: Collection[str], deadline: Deadline
    ) -> Iterator[NovaDevice]:
        """The same, and what else Nova's filter lets through."""
        for some in parted(names, _NAMES_A_CALL):
            # Nova's filter is a regular expression, and its databases may
            # not mind the case. It takes "|" for an ordinary letter, so that
            # each of the names is there or not; what else matches is nobody's.
            each = "".join(f"({re.escape(name)})?" for name in some)
            query = {"name": f"^{each}$"}
            yield from self._listed(query, deadline)

    def of_jobs(
        self, uniques: Collection[str], deadline: Deadline
    ) -> Mapping[str, list[Device]]:
        """The servers that were made for these jobs, by unique."""
        tags = {marks.job_tag(unique) for unique in uniques}
        found: defaultdict[str, list[Device]] = defaultdict(list)
        for device in self._tagged(tags, deadline):
            if device.mark is not None:
                found[device.mark.unique].append(device)
        return found

    def among(
        self, devices: Collection[Device], deadline: Deadline
    ) -> Iterator[Device]:
        """Those of these devices that are there; others may be among them.

        What Nova does not show of one is as it was before.
        """
        known = {device.id: device for device in devices}
        for found in self._among(devices, deadline):
            yield completed(found, known.get(found.id))

    def _among(
        self, devices: Collection[Device], deadline: Deadline
    ) -> Iterator[Device]:
        marked = {d.id: d for d in devices if d.mark}
        if len(marked) > _TAGS_A_CALL:
            # Of a thousand that boot, hardly one has changed since the last
            # look: who still boots is told by one short list.
            for id_ in self._booting(marked.values(), deadline):
                if id_ in marked and marked[id_].status == "building":
                    yield marked.pop(id_)
        tags = {
            marks.own_tag(d.mark, d.name) for d in marked.values() if d.mark
        }
        yield from self._tagged(tags, deadline)
        unmarked = {d.name for d in devices if d.mark is None}
        yield from self._named(unmarked, deadline)

    def get(self, id_: str, deadline: Deadline) -> NovaDevice | None:
        """A server by its id, None if it is gone."""
        path = path_of(_SERVERS, id_)
        try:
            answer = self.api.get("compute", path, deadline, expects="server")
        except Refused as error:
            if error.status != 404:
                raise
            return None
        server = answer["server"]
        if not isinstance(server, Mapping):
            raise Unavailable(f"the answer to GET {path} has no 'server'")
        # It is the one that was asked for, whatever it says.
        return next(self._devices([{**server, "id": id_}]), None)

    def mark(self, device: Device, mark: Mark, deadline: Deadline) -> None:
        """Write another mark on a server that is active."""
        before = device.mark
        if before is None or before.unique != mark.unique:
            for tag in marks.tags_of(mark, device.name):
                path = path_of(_SERVERS, device.id, "tags", tag)
                self.api.run(Call("PUT", "compute", path), deadline)
        changes = marks.changes(mark, before)
        call = Call(
            "POST",
            "compute",
            path_of(_SERVERS, device.id, "metadata"),
            body={"metadata": changes},
        )
        now = self.api.run(call, deadline).get("metadata")
        if isinstance(now, Mapping) and changes.items() <= now.items():
            return
        seen = self.get(device.id, deadline)
        if seen is None or seen.mark != mark:
            raise Unavailable(f"device {device.name!r} was not marked")

    def delete(self, device: Device, deadline: Deadline) -> bool:
        """Ask Nova to delete a server; whether there was one."""
        try:
            path = path_of(_SERVERS, device.id)
            self.api.run(Call("DELETE", "compute", path), deadline)
        except Refused as error:
            if error.status != 404:
                raise
            return False
        return True

    def console(self, device: Device, lines: int, deadline: Deadline) -> str:
        """The last lines of a server's console."""
        call = Call(
            "POST",
            "compute",
            path_of(_SERVERS, device.id, "action"),
            body={"os-getConsoleOutput": {"length": lines}},
            once=True,  # a 409 here is "there is none", and stays
        )
        return masked(str(self.api.run(call, deadline).get("output") or ""))

    # -- inside -------------------------------------------------------------

    def _create_once(
        self, name: str, mark: Mark, parts: Parts, deadline: Deadline
    ) -> Device:
        call = self._creation(name, mark, parts)

        def post() -> Device:
            made = self.api.run(call, deadline)["server"]
            now = datetime.now(UTC).isoformat(timespec="seconds")
            with understood(call):
                id_ = checked_id(made["id"])
            own_ip = marks.OWN_IP.items() <= self.metadata.items()
            return NovaDevice(
                id_, name, "building", None, now, mark=mark, own_ip=own_ip
            )

        def find() -> list[Device]:
            found = self._tagged({marks.own_tag(mark, name)}, deadline)
            return [device for device in found if device.name == name]

        def discard(device: Device) -> None:
            self.delete(device, deadline)

        what = f"device {name!r}"
        return Creation(what, post, find, discard).run(deadline)

    def _creation(self, name: str, mark: Mark, parts: Parts) -> Call:
        server = {
            **parts.server,
            "name": name,
            "metadata": {**self.metadata, **marks.metadata_of(mark)},
            "tags": marks.tags_of(mark, name),
        }
        zone = self.blueprint.zone(parts)
        if zone is not None:
            server["availability_zone"] = zone
        body: dict[str, Any] = {"server": server}
        if parts.hints:
            body["os:scheduler_hints"] = dict(parts.hints)
        return Call(
            "POST",
            "compute",
            _SERVERS,
            body=body,
            expects="server",
            once=True,
        )

    def _tagged(
        self, tags: Collection[str], deadline: Deadline
    ) -> Iterator[NovaDevice]:
        for some in parted(tags, _TAGS_A_CALL):
            yield from self._listed({"tags-any": ",".join(some)}, deadline)

    def _booting(
        self, devices: Collection[Device], deadline: Deadline
    ) -> Iterator[str]:
        """Ids of all servers that boot, of the pools of these devices."""
        pools = {device.mark.pool for device in devices if device.mark}
        for pool in sorted(pools):
            query = {"status": "BUILD", "tags": marks.pool_tag(pool)}
            call = Call("GET", "compute", _SERVERS, query)
            yield from usable(
                "servers",
                self.api.pages(call, deadline),
                lambda server: needed(server, "id"),
            )

    def _listed(
        self, query: Mapping[str, str], deadline: Deadline
    ) -> Iterator[NovaDevice]:
        call = Call("GET", "compute", "/servers/detail", query, form=_Listed)
        yield from self._devices(self.api.pages(call, deadline))

    def _devices(self, servers: Iterable[object]) -> Iterator[NovaDevice]:
        """The devices that servers are; those that are gone are none."""
        for device in usable("servers", servers, self._device):
            if device is not None:
                yield device

    def _device(self, server: Mapping[str, Any]) -> NovaDevice | None:
        shown = text("servers", server, "status")
        if shown in _GONE:
            return None
        status = _STATUSES.get(shown, "building")
        metadata = server.get("metadata")
        return NovaDevice(
            id=needed(server, "id"),
            name=text("servers", server, "name"),
            status=status,
            address=self.rule.choose(server.get("addresses")),
            created=text("servers", server, "created").replace("Z", "+00:00"),
            fault=_fault(server) if status == "failed" else None,
            mark=marks.mark_in(metadata),
            own_ip=marks.says_own_ip(metadata),
        )


def completed(seen: Device, known: Device | None) -> Device:
    """A device as it is seen, and as it is known where Nova does not tell."""
    if known is None:
        return seen
    if seen.mark is marks.UNREADABLE:
        seen = replace(seen, mark=known.mark)
        if isinstance(seen, NovaDevice) and isinstance(known, NovaDevice):
            seen = replace(seen, own_ip=known.own_ip)
    return seen if seen.name else replace(seen, name=known.name)


def _fault(server: Mapping[str, Any]) -> str:
    status = server["status"]
    if status != "ERROR":
        return f"it is {status}"
    fault = server.get("fault")
    message = fault.get("message") if isinstance(fault, Mapping) else fault
    said = message.strip() if isinstance(message, str) else ""
    return one_line(masked(said), _LONGEST_FAULT) or NO_REASON
