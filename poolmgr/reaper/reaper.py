"""Finds orphans, says why they are some, and removes them when told to.

A worker that dies with its job server leaves devices that no job will ever
take over.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from poolmgr.cloud import Cloud
from poolmgr.cloud.pace import time_limit
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.errors import CloudUnavailable, PoolmgrError
from poolmgr.jobs.in_flight import InFlight
from poolmgr.ownership import Mark
from poolmgr.reaper.inventory import Item, list_everything
from poolmgr.reaper.rules import Candidate, judge
from poolmgr.settings import PoolSettings, ReaperSettings
from poolmgr.text import one_line
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)

#: Seconds that finding all, and removing one, may take.
_TIME = 120.0
#: Things of the pool from which on half of them missing is suspicious.
_FEW = 4


class Reaper:
    """Finds what no job owns.

    Only what bears this pool's mark is ever considered.

    :param cloud: the cloud
    :param pool: the pool's settings
    :param settings: how old a thing has to be, and how many are removed
    :param jobs: knows which jobs are in flight
    :param job_time: seconds that a job may take at most
    :param twice: whether two runs have to find a thing unowned; one is
        enough if nothing will be removed
    """

    def __init__(
        self,
        cloud: Cloud,
        pool: PoolSettings,
        settings: ReaperSettings,
        jobs: InFlight,
        job_time: float,
        twice: bool = True,
    ) -> None:
        self._cloud = cloud
        self._job_time = 0.0
        self.adopt(pool, settings, job_time)
        self._jobs = jobs
        self._twice = twice
        self._seen: dict[str, Mark] = {}
        self._number: Counter[str] = Counter()

    def adopt(
        self, pool: PoolSettings, settings: ReaperSettings, job_time: float
    ) -> None:
        """Use other settings from now on.

        Jobs that began under those before may still run, so the time that a
        job may take never becomes shorter.

        :param job_time: as of the class
        """
        self._job_time = max(self._job_time, job_time)
        self._pool = pool
        self._limit = settings.limit
        self._old = max(settings.older_than, self._job_time)

    @property
    def to_confirm(self) -> bool:
        """Whether the last run has found what the next has to confirm."""
        return bool(self._seen)

    async def find(self) -> list[Candidate]:
        """Find what may be an orphan; nothing is changed.

        :returns: all that is not plainly somebody's, devices first, the
            oldest of each kind first
        :raises CloudError: the cloud does not tell, or half of the pool has
            disappeared since the last run
        :raises DeadlineExceeded: it does not tell in time
        """
        found = await self._judge_all()
        marks = [each.mark for each in found if each.verdict == "unowned"]
        busy = await self._jobs.reasons(marks)
        seen, self._seen = self._seen, {}
        done = []
        for each in found:
            id_ = each.item.thing.id
            if each.verdict == "unowned" and each.mark in busy:
                each = each.kept(busy[each.mark])
            elif each.verdict == "unowned" and self._twice:
                self._seen[id_] = each.mark
                if seen.get(id_) != each.mark:
                    each = each.kept(
                        f"{each.reason}; the next run has to confirm it"
                    )
            done.append(each)
        return done

    async def _judge_all(self) -> list[Candidate]:
        """Return what may have no owner by itself."""
        async with _time_limit("looking for orphans"):
            devices, ips = await list_everything(
                self._cloud, self._pool.ownership
            )
        everything: list[Item[Any]] = [*devices, *ips]
        ours = [
            (item, item.mark)
            for item in everything
            if item.mark is not None and item.mark.pool == self._pool.pool
        ]
        self._require_plausible(Counter(item.kind for item, _mark in ours))
        ids = {item.thing.id for item in devices}
        judged = [judge(item, mark, ids, self._old) for item, mark in ours]
        return [each for each in judged if each is not None]

    async def remove(self, found: Sequence[Candidate]) -> list[Candidate]:
        """Remove those that are unowned, up to the limit.

        Each is read once more right before.

        :returns: all of them, with what became of each
        """
        done: list[Candidate] = []
        removed = 0
        for each in found:
            if each.verdict == "unowned" and removed >= self._limit:
                each = each.kept(
                    f"left to the next run: the limit is {self._limit}"
                )
            elif each.verdict == "unowned":
                each = await self._remove(each)
            if each.verdict == "removed":
                removed += 1
                # It is not one of those that disappeared.
                self._number[each.kind] -= 1
            done.append(each)
        return done

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

    async def _remove(self, found: Candidate) -> Candidate:
        thing: Device | FloatingIP = found.item.thing
        try:
            async with _time_limit(f"removing {found}"):
                if not await self._is_unchanged(thing):
                    return found.kept("it was changed in the last moment")
                busy = await self._jobs.reasons([found.mark])
                if found.mark in busy:
                    return found.kept(busy[found.mark])
                LOG.warning("removing %s: %s", found, one_line(found.reason))
                if isinstance(thing, Device):
                    await self._cloud.delete_device(thing)
                else:
                    await self._cloud.delete_ip(thing)
        except PoolmgrError as error:
            reason = f"{found.reason}; cannot remove it: {error}"
            return replace(found, verdict="failed", reason=reason)
        return replace(found, verdict="removed")

    async def _is_unchanged(self, thing: Device | FloatingIP) -> bool:
        if isinstance(thing, Device):
            return thing in await self._cloud.find_devices(thing.name)
        if await self._cloud.find_ip(thing.address) != thing:
            return False
        # Lists lack what is in a part of the cloud that is down.
        owner = thing.goes_with
        return owner is None or await self._cloud.get_device(owner) is None


def _time_limit(doing: str) -> AbstractAsyncContextManager[None]:
    return time_limit(current() or RequestContext(), _TIME, doing)
