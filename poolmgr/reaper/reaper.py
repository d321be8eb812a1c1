"""Finds what nobody owns, says why, and removes it when told to.

A worker that dies with its job server leaves devices that no job will ever
take over.
"""

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Literal, Protocol

from poolmgr.cloud import Cloud
from poolmgr.cloud.time_limit import time_limit
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.errors import PoolmgrError
from poolmgr.ownership import Mark
from poolmgr.reaper.inventory import Inventory
from poolmgr.reaper.rules import (
    DEVICE,
    IP,
    Candidate,
    judge_device,
    judge_ip,
)
from poolmgr.settings import PoolSettings, ReaperSettings
from poolmgr.text import one_line
from poolmgr.tracing import RequestContext, bound, current

LOG = logging.getLogger(__name__)

#: Seconds that looking, and removing one thing, may take.
_TIME = 120.0
#: Things of the pool from which on half of them missing is suspicious.
_FEW = 4


class KnowsJobs(Protocol):
    """Knows which jobs are in flight."""

    async def reasons(self, marks: Collection[Mark]) -> dict[Mark, str]:
        """Why the jobs of some of these marks may be in flight."""


class Vanished(PoolmgrError):
    """So much is missing in the cloud's list that it is not believed.

    :ivar what: the kind of things
    :ivar now: how many there are
    :ivar before: how many there were
    """

    code = "vanished"
    retryable = True

    def __init__(self, what: str, now: int, before: int) -> None:
        self.what, self.now, self.before = what, now, before
        super().__init__(
            f"the cloud lists {now} {what} of this pool, and there were "
            f"{before}; nothing is removed before this was seen twice"
        )


class Reaper:
    """Looks for what nobody owns.

    Only what bears this pool's mark is ever looked at.

    :param cloud: the cloud
    :param pool: the pool's settings
    :param settings: how old a thing has to be, and how many are removed
    :param jobs: knows which jobs are in flight
    :param job_time: seconds that a job may take at most
    :param sightings: how many looks have to find a thing unowned: two, or
        one if nothing will be removed
    """

    def __init__(
        self,
        cloud: Cloud,
        pool: PoolSettings,
        settings: ReaperSettings,
        jobs: KnowsJobs,
        job_time: float,
        sightings: Literal[1, 2] = 2,
    ) -> None:
        self._cloud = cloud
        self._job_time = 0.0
        self.adopt(pool, settings, job_time)
        self._jobs = jobs
        self._twice = sightings == 2
        self._seen: dict[str, Mark] = {}
        self._there: dict[str, int] = {}

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
    def to_look_again(self) -> bool:
        """Whether the last look has found what has to be seen once more."""
        return bool(self._seen)

    async def look(self) -> list[Candidate]:
        """Look once; nothing is changed.

        :returns: all that is not plainly somebody's, the oldest first
        :raises Vanished: half of the pool has disappeared since the last look
        :raises CloudError: the cloud does not tell
        :raises DeadlineExceeded: it does not tell in time
        """
        async with _time_limit("looking for what nobody owns"):
            inventory = Inventory(self._cloud, self._pool.ownership)
            devices, ips = await inventory.everything()
        our_devices = [d for d in devices if self._is_ours(d.mark)]
        our_ips = [i for i in ips if self._is_ours(i.mark)]
        self._require_plausible({DEVICE: len(our_devices), IP: len(our_ips)})
        there = {item.device.id for item in devices}
        judged = [judge_device(d, self._old) for d in our_devices]
        judged += [judge_ip(i, there, self._old) for i in our_ips]
        found = [each for each in judged if each is not None]
        return self._seen_twice(await self._without_jobs(found))

    async def remove(self, found: Sequence[Candidate]) -> list[Candidate]:
        """Remove those that are unowned, up to the limit.

        Each is looked at once more right before.

        :returns: all of them, with what became of each
        """
        done: list[Candidate] = []
        removed = 0
        for each in found:
            if each.verdict == "unowned" and removed >= self._limit:
                each = each.kept(
                    f"left to the next look: {self._limit} are the most"
                )
            elif each.verdict == "unowned":
                each = await self._remove(each)
            if each.verdict == "removed":
                removed += 1
                # It is not one of those that disappeared.
                self._there[each.kind] -= 1
            done.append(each)
        return done

    # -- looking ------------------------------------------------------------

    def _is_ours(self, mark: Mark | None) -> bool:
        return mark is not None and mark.pool == self._pool.pool

    def _require_plausible(self, now: dict[str, int]) -> None:
        before, self._there = self._there, now
        for kind, number in now.items():
            was = before.get(kind, 0)
            if was >= _FEW and number < was / 2:
                # What was seen before this counts for nothing.
                self._seen = {}
                raise Vanished(f"{kind}s", number, was)

    async def _without_jobs(self, found: list[Candidate]) -> list[Candidate]:
        marks = [each.mark for each in found if each.verdict == "unowned"]
        busy = await self._jobs.reasons(marks) if marks else {}
        return [
            each.kept(busy[each.mark])
            if each.verdict == "unowned" and each.mark in busy
            else each
            for each in found
        ]

    def _seen_twice(self, found: list[Candidate]) -> list[Candidate]:
        seen, self._seen = self._seen, {}
        judged = []
        for each in found:
            if each.verdict == "unowned" and self._twice:
                self._seen[each.thing.id] = each.mark
                if seen.get(each.thing.id) != each.mark:
                    each = each.kept(f"{each.reason}; to be seen once more")
            judged.append(each)
        return judged

    # -- removing -----------------------------------------------------------

    async def _remove(self, found: Candidate) -> Candidate:
        try:
            async with _time_limit(f"removing {found}"):
                return await self._remove_if_unchanged(found)
        except PoolmgrError as error:
            reason = f"{found.reason}; cannot remove it: {error}"
            return replace(found, verdict="failed", reason=reason)

    async def _remove_if_unchanged(self, found: Candidate) -> Candidate:
        if isinstance(found.thing, Device):
            now: Device | FloatingIP | None = await self._device_again(
                found.thing
            )
        else:
            now = await self._ip_again(found.thing)
        if now is None or now.mark != found.mark:
            return found.kept("it is gone, or was changed, in the last moment")
        busy = await self._jobs.reasons([found.mark])
        if found.mark in busy:
            return found.kept(busy[found.mark])
        LOG.warning("removing %s: %s", found, one_line(found.reason))
        if isinstance(now, Device):
            await self._cloud.delete_device(now)
        else:
            await self._cloud.delete_ip(now)
        return replace(found, verdict="removed")

    async def _device_again(self, device: Device) -> Device | None:
        found = await self._cloud.find_devices(device.name)
        return next((each for each in found if each.id == device.id), None)

    async def _ip_again(self, ip: FloatingIP) -> FloatingIP | None:
        now = await self._cloud.find_ip(ip.address)
        if now is None or (now.id, now.device_id) != (ip.id, ip.device_id):
            return None
        if now.goes_with is not None:
            devices = await self._cloud.list_devices()
            if now.goes_with in {device.id for device in devices}:
                return None
            # Lists lack what is in a part of the cloud that is down.
            its = replace(now, device_id=now.goes_with)
            if await self._cloud.device_of_ip(its) is not None:
                return None
        return now


@asynccontextmanager
async def _time_limit(doing: str) -> AsyncIterator[None]:
    """Limit the time for one step; raises as :func:`time_limit` does."""
    with bound(current() or RequestContext()) as context:
        async with time_limit(context, _TIME, doing):
            yield
