"""Who still has a job, here or at the job servers."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from poolmgr.cloud.pace import time_limit
from poolmgr.errors import PoolmgrError
from poolmgr.events import RunningJob
from poolmgr.gearman import admin
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.ownership import Job, Mark
from poolmgr.tracing import RequestContext

LOG = logging.getLogger(__name__)

#: Seconds that asking a job server how often it has delivered a job may take.
_ASK_TIME = 5.0


class InFlight:
    """Tells of marks whether their jobs are still in flight.

    :param running: tells the jobs that run in this process
    :param servers: the job servers to ask
    :param options: how to reach them
    """

    def __init__(
        self,
        running: Callable[[], Collection[RunningJob]],
        servers: Sequence[Address],
        options: ConnectionOptions,
    ) -> None:
        self._running = running
        self._servers = servers
        self._options = options

    async def reasons(self, marks: Collection[Mark]) -> dict[Mark, str]:
        """Tell why the jobs of some of these marks may be in flight.

        A job server that cannot be asked may have any job.

        :returns: a reason for each mark whose job may be; the others are
            known to none
        """
        found: dict[Mark, str] = {}
        if marks:
            for reasons in await asyncio.gather(
                *(self._ask(server, marks) for server in self._servers)
            ):
                found.update(reasons)
        here = {each.job.unique or each.job.handle for each in self._running()}
        for mark in marks:
            if (mark.unique or mark.handle) in here:
                found[mark] = "its job runs here"
        return found

    async def _ask(
        self, server: Address, marks: Collection[Mark]
    ) -> dict[Mark, str]:
        limit = 2 * self._options.connect_timeout
        has = f"job server {server} has its job"
        try:
            async with (
                time_limit(RequestContext(), limit, "asking it"),
                Client([server], self._options) as client,
            ):
                return {
                    mark: has
                    for mark in marks
                    if await client.has(unique=mark.unique, handle=mark.handle)
                }
        except PoolmgrError as error:
            why = str(error).rpartition(f"{server}: ")[2]
            reason = f"job server {server} cannot be asked: {why}"
            return dict.fromkeys(marks, reason)


async def delivered_before(options: ConnectionOptions, job: Job) -> bool:
    """Ask a job's server whether it has lost a worker with the job.

    :param options: how to reach it
    :returns: False, too, if it cannot be asked: not all servers tell
    """
    try:
        address = Address.parse(job.server)
        quick = replace(options, connect_timeout=_ASK_TIME)
        jobs = await admin.show_jobs(address, quick)
    except PoolmgrError as error:
        LOG.info("cannot tell whether a job was delivered before: %s", error)
        return False
    return jobs.get(job.handle, 0) > 0
