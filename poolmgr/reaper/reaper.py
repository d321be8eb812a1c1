"""Finds orphans, explains why they are orphans, and deletes them.

A worker that dies together with its job server leaves devices that no job
will take over.  Each rule spares resources that may have an owner, and the
reason of a finding names the rule.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Literal, get_args

from poolmgr.cloud import Cloud
from poolmgr.cloud.pace import time_limit
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.errors import CloudUnavailable, PoolmgrError
from poolmgr.events import RunningJob
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.ownership import Mark, State
from poolmgr.reaper.inventory import Item, list_everything
from poolmgr.settings import PoolSettings
from poolmgr.text import format_duration, one_line
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)

#: Seconds that a search, and each deletion, may take.
_TIMEOUT = 120.0
#: Number of resources from which on it is suspicious if half disappear.
_FEW = 4

Verdict = Literal["kept", "unowned", "removed", "failed"]


@dataclass(frozen=True)
class Finding:
    """A resource that may be an orphan.

    :ivar item: the resource
    :ivar mark: its mark
    :ivar verdict: "kept"; "unowned" before the deletion; "removed" or
        "failed" after it
    :ivar reason: the reason, for people
    """

    item: Item
    mark: Mark
    verdict: Verdict
    reason: str

    @property
    def kind(self) -> str:
        """The kind of resource, for people."""
        return self.item.kind

    def kept(self, reason: str) -> "Finding":
        """Return a copy with the verdict "kept"."""
        return replace(self, verdict="kept", reason=reason)

    def __str__(self) -> str:
        return f"{self.kind} {one_line(self.item.name)}"


@dataclass(frozen=True)
class InFlight:
    """Finds out whether the jobs of marks are still in flight.

    :ivar running: returns the jobs that run in this process
    :ivar servers: the job servers
    :ivar options: how to connect to them
    """

    running: Callable[[], Collection[RunningJob]]
    servers: Sequence[Address]
    options: ConnectionOptions

    async def reasons(self, marks: Collection[Mark]) -> dict[Mark, str]:
        """Return why the jobs of some of these marks may be in flight.

        A job server that does not answer may have any job.

        :returns: a reason for each mark whose job may be in flight
        """
        found: dict[Mark, str] = {}
        if marks:
            for reasons in await asyncio.gather(
                *(self._ask(server, marks) for server in self.servers)
            ):
                found.update(reasons)
        here = {each.job.unique or each.job.handle for each in self.running()}
        for mark in marks:
            if (mark.unique or mark.handle) in here:
                found[mark] = "its job runs here"
        return found

    async def _ask(
        self, server: Address, marks: Collection[Mark]
    ) -> dict[Mark, str]:
        # Once to connect, and once for all answers.
        limit = 2 * self.options.connect_timeout
        try:
            async with (
                time_limit(RequestContext(), limit, "asking it"),
                Client([server], self.options) as client,
            ):
                return {
                    mark: f"job server {server} has its job"
                    for mark in marks
                    if await client.has(unique=mark.unique, handle=mark.handle)
                }
        except PoolmgrError as error:
            # The reason names the server itself.
            why = str(error).rpartition(f"{server}: ")[2]
            reason = f"job server {server} cannot be asked: {why}"
            return dict.fromkeys(marks, reason)


class Reaper:
    """Finds and deletes the orphans of a pool.

    It considers resources with the pool's mark only.

    :param cloud: the cloud
    :param jobs: finds out which jobs are in flight
    :param twice: whether an orphan must be found by two searches; one is
        enough if nothing will be deleted
    """

    def __init__(
        self, cloud: Cloud, jobs: InFlight, twice: bool = True
    ) -> None:
        self._cloud = cloud
        self._jobs = jobs
        self._twice = twice
        self._seen: dict[str, Mark] = {}
        self._number: Counter[str] = Counter()

    @property
    def to_confirm(self) -> bool:
        """Whether the next search has to confirm orphans of the last one."""
        return bool(self._seen)

    async def find(self, pool: PoolSettings, old: float) -> list[Finding]:
        """Find all resources that may be orphans, without changing any.

        :param pool: the settings of the pool
        :param old: age in seconds beyond which no job can use a resource
        :returns: devices first, the oldest of each kind first
        :raises CloudError: the cloud cannot be searched, or half of the pool
            has disappeared since the last search
        :raises DeadlineExceeded: the search takes too long
        """
        found = await self._search(pool, old)
        marks = [each.mark for each in found if each.verdict == "unowned"]
        busy = await self._jobs.reasons(marks)
        seen, self._seen = self._seen, {}
        for place, each in enumerate(found):
            id_ = each.item.resource.id
            if each.verdict == "unowned" and each.mark in busy:
                found[place] = each.kept(busy[each.mark])
            elif each.verdict == "unowned" and self._twice:
                self._seen[id_] = each.mark
                if seen.get(id_) != each.mark:
                    found[place] = each.kept(
                        f"{each.reason}; the next run has to confirm it"
                    )
        return found

    async def remove(
        self, found: Sequence[Finding], limit: int
    ) -> list[Finding]:
        """Delete the orphans, after checking each once more.

        :param limit: maximum number of deletions
        :returns: all findings with their new verdicts
        """
        done: list[Finding] = []
        removed = 0
        for each in found:
            if each.verdict == "unowned" and removed >= limit:
                each = each.kept(f"left to the next run: the limit is {limit}")
            elif each.verdict == "unowned":
                each = await self._remove(each)
            if each.verdict == "removed":
                removed += 1
                # Or the next search would count it among the disappeared.
                self._number[each.kind] -= 1
            done.append(each)
        return done

    async def _search(self, pool: PoolSettings, old: float) -> list[Finding]:
        """Find the resources that may be orphans according to their marks."""
        async with _time_limit("looking for orphans"):
            devices, ips = await list_everything(self._cloud, pool.ownership)
        ours = [
            (item, item.mark)
            for item in (*devices, *ips)
            if item.mark is not None and item.mark.pool == pool.pool
        ]
        self._require_plausible(Counter(item.kind for item, _mark in ours))
        ids = {item.resource.id for item in devices}
        judged = [judge(item, mark, ids, old) for item, mark in ours]
        return [each for each in judged if each is not None]

    def _require_plausible(self, number: Counter[str]) -> None:
        """Raise an error once if half of the pool has disappeared."""
        before, self._number = self._number, number
        for kind, was in before.items():
            if was >= _FEW and number[kind] < was / 2:
                # Two searches have to confirm each orphan from now on.
                self._seen = {}
                raise CloudUnavailable(
                    f"the cloud lists {number[kind]} {kind}s, {was} in the "
                    "last run; deleting nothing until the next run sees the "
                    "same"
                )

    async def _remove(self, found: Finding) -> Finding:
        resource = found.item.resource
        try:
            async with _time_limit(f"removing {found}"):
                if not await self._is_unchanged(resource):
                    return found.kept("it was changed meanwhile")
                # Deleting others may have taken minutes, time for a delivery.
                busy = await self._jobs.reasons([found.mark])
                if found.mark in busy:
                    return found.kept(busy[found.mark])
                LOG.warning("removing %s: %s", found, one_line(found.reason))
                if isinstance(resource, Device):
                    await self._cloud.delete_device(resource)
                else:
                    await self._cloud.delete_ip(resource)
        except PoolmgrError as error:
            reason = f"{found.reason}; cannot remove it: {error}"
            return replace(found, verdict="failed", reason=reason)
        return replace(found, verdict="removed")

    async def _is_unchanged(self, resource: Device | FloatingIP) -> bool:
        if isinstance(resource, Device):
            # A new mark, written by a take-over, makes it unequal.
            return resource in await self._cloud.find_devices(resource.name)
        if await self._cloud.find_ip(resource.address) != resource:
            return False
        # While a part of the cloud is down, lists lack its devices.
        owner = resource.goes_with
        return owner is None or await self._cloud.get_device(owner) is None


def judge(
    item: Item, mark: Mark, devices: Collection[str], old: float
) -> Finding | None:
    """Judge a resource of the pool by its mark; None if it has an owner.

    :param devices: the ids of all devices
    :param old: age in seconds beyond which no job can use it
    """
    resource = item.resource
    job = mark.unique or mark.handle or "without a name"
    found = Finding(item, mark, "unowned", f"job {job} was never answered")
    if isinstance(resource, FloatingIP) and resource.goes_with is not None:
        if resource.goes_with in devices or resource.device_id is not None:
            return None
        reason = f"its device {resource.goes_with} is gone"
        found = replace(found, reason=reason)
    elif mark.state == "unconfirmed":
        return found.kept(
            "nobody knows whether its answer arrived: if no client has it, "
            "delete it by hand"
        )
    elif mark.state not in get_args(State):
        return found.kept("this version of poolmgr does not know its state")
    elif not mark.is_left:
        return None
    elif item.attached_to is not None:
        return found.kept(f"it is attached to {item.attached_to}")
    if item.age is None:
        return found.kept("its age is unknown")
    if item.age <= old:
        least = format_duration(int(old))
        return found.kept(f"not older than {least} yet")
    return found


def _time_limit(doing: str) -> AbstractAsyncContextManager[None]:
    return time_limit(current() or RequestContext(), _TIMEOUT, doing)
