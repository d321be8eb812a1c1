"""Questions to job servers about the jobs that they have."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from poolmgr.cloud.pace import time_limit
from poolmgr.errors import PoolmgrError
from poolmgr.events import RunningJob
from poolmgr.gearman import admin
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.ownership import Job, Mark
from poolmgr.tracing import RequestContext

LOG = logging.getLogger(__name__)

#: Timeout in seconds for asking whether a job was delivered before.
_ASK_TIME = 5.0


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
            why = str(error).rpartition(f"{server}: ")[2]
            reason = f"job server {server} cannot be asked: {why}"
            return dict.fromkeys(marks, reason)


async def delivered_before(options: ConnectionOptions, job: Job) -> bool:
    """Return whether a job's server has lost a worker with the job.

    :param options: how to connect to it
    :returns: also False if it does not answer, or does not count retries
    """
    try:
        address = Address.parse(job.server)
        quick = replace(options, connect_timeout=_ASK_TIME)
        jobs = await admin.show_jobs(address, quick)
    except PoolmgrError as error:
        LOG.info("cannot tell whether a job was delivered before: %s", error)
        return False
    return jobs.get(job.handle, 0) > 0
