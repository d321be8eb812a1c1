"""Finds orphans, says why they are some, and removes them when told to.

A worker that dies with its job server leaves devices that no job will ever
take over.  Each rule is there to spare a resource that may have an owner; the
reasons say which of them did.
"""

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from poolmgr.cloud import Cloud
from poolmgr.cloud.pace import time_limit
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.errors import CloudUnavailable, PoolmgrError
from poolmgr.jobs.in_flight import InFlight
from poolmgr.ownership import Mark, State
from poolmgr.reaper.inventory import Item, list_everything
from poolmgr.settings import PoolSettings
from poolmgr.text import format_duration, one_line
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)

#: Seconds that finding all, and removing one, may take.
_TIME = 120.0
#: Things of the pool from which on half of them missing is suspicious.
_FEW = 4

Verdict = Literal["kept", "unowned", "removed", "failed"]


@dataclass(frozen=True)
class Finding:
    """A resource that may be an orphan.

    :ivar item: the resource
    :ivar mark: what poolmgr wrote on it
    :ivar verdict: "kept"; "unowned", to be removed; "removed"; or "failed"
        to be
    :ivar reason: why, for a person
    """

    item: Item[Any]
    mark: Mark
    verdict: Verdict
    reason: str

    @property
    def kind(self) -> str:
        """What it is."""
        return self.item.kind

    def kept(self, reason: str) -> "Finding":
        """The same, to be kept for a reason."""
        return replace(self, verdict="kept", reason=reason)

    def __str__(self) -> str:
        return f"{self.kind} {one_line(str(self.item.name))}"


class Reaper:
    """Finds what no job owns.

    Only what bears the pool's mark is ever considered.

    :param cloud: the cloud
    :param jobs: knows which jobs are in flight
    :param twice: whether two runs have to find a resource unowned; one is
        enough if nothing will be removed
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
        """Whether the last run has found what the next has to confirm."""
        return bool(self._seen)

    async def find(self, pool: PoolSettings, old: float) -> list[Finding]:
        """Find what may be an orphan; nothing is changed.

        :param pool: the pool's settings
        :param old: seconds from which on no job can be at work on a resource
        :returns: all that is not plainly somebody's, devices first, the
            oldest of each kind first
        :raises CloudError: the cloud does not tell, or half of the pool has
            disappeared since the last run
        :raises DeadlineExceeded: it does not tell in time
        """
        found = await self._judge_all(pool, old)
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
        """Remove those that are unowned.

        Each is read once more right before.

        :param limit: how many at most
        :returns: all of them, with what became of each
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
                # It is not one of those that disappeared.
                self._number[each.kind] -= 1
            done.append(each)
        return done

    async def _judge_all(
        self, pool: PoolSettings, old: float
    ) -> list[Finding]:
        """Return what may have no owner by itself."""
        async with _time_limit("looking for orphans"):
            devices, ips = await list_everything(self._cloud, pool.ownership)
        everything: list[Item[Any]] = [*devices, *ips]
        ours = [
            (item, item.mark)
            for item in everything
            if item.mark is not None and item.mark.pool == pool.pool
        ]
        self._require_plausible(Counter(item.kind for item, _mark in ours))
        ids = {item.resource.id for item in devices}
        judged = [judge(item, mark, ids, old) for item, mark in ours]
        return [each for each in judged if each is not None]

    def _require_plausible(self, number: Counter[str]) -> None:
        """Believe that half of the pool is gone only when it is seen twice."""
        before, self._number = self._number, number
        for kind, was in before.items():
            if was >= _FEW and number[kind] < was / 2:
                # What was seen before this counts for nothing.
                self._seen = {}
                raise CloudUnavailable(
                    f"the cloud lists {number[kind]} {kind}s, {was} in the "
                    "last run; deleting nothing until the next run sees the "
                    "same"
                )

    async def _remove(self, found: Finding) -> Finding:
        resource: Device | FloatingIP = found.item.resource
        try:
            async with _time_limit(f"removing {found}"):
                if not await self._is_unchanged(resource):
                    return found.kept("it was changed meanwhile")
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
            return resource in await self._cloud.find_devices(resource.name)
        if await self._cloud.find_ip(resource.address) != resource:
            return False
        # Lists lack what is in a part of the cloud that is down.
        owner = resource.goes_with
        return owner is None or await self._cloud.get_device(owner) is None


def judge(
    item: Item[Any], mark: Mark, devices: Collection[str], old: float
) -> Finding | None:
    """Return what a resource of this pool is; None if it has an owner.

    :param mark: its mark
    :param devices: the ids of the devices that there are
    :param old: seconds from which on no job can be at work on it
    """
    resource = item.resource
    found = Finding(item, mark, "unowned", _made_for(mark))
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


def _made_for(mark: Mark) -> str:
    job = mark.unique or mark.handle or "without a name"
    what = "was never answered"
    if mark.state == "withdrawn":
        what = "could not be answered"
    return f"job {job} {what}, and no worker or job server has it"


def _time_limit(doing: str) -> AbstractAsyncContextManager[None]:
    return time_limit(current() or RequestContext(), _TIME, doing)
