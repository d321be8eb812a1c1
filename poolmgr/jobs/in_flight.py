"""Who still has a job, here or at the job servers."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from poolmgr.errors import ConfigError, TransportError
from poolmgr.events import RunningJob
from poolmgr.gearman import Address, Client, ConnectionOptions, admin
from poolmgr.ownership import Job, Mark

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
        if marks and self._servers:
            for reasons in await asyncio.gather(
                *(self._ask(server, marks) for server in self._servers)
            ):
                found.update(reasons)
        here = {
            _name(each.job.unique, each.job.handle) for each in self._running()
        }
        for mark in marks:
            if _name(mark.unique, mark.handle) in here:
                found[mark] = "its job runs here"
        return found

    async def _ask(
        self, server: Address, marks: Collection[Mark]
    ) -> dict[Mark, str]:
        found = {}
        try:
            limit = self._options.connect_timeout
            async with asyncio.timeout(2 * limit) as time_out:
                async with Client([server], self._options) as client:
                    for mark in marks:
                        if await client.has(
                            unique=mark.unique, handle=mark.handle
                        ):
                            found[mark] = f"job server {server} has its job"
        except TimeoutError:
            if not time_out.expired():
                raise
            return dict.fromkeys(marks, f"job server {server} did not answer")
        except TransportError as error:
            why = str(error).rpartition(f"{server}: ")[2]
            reason = f"job server {server} cannot be asked: {why}"
            return dict.fromkeys(marks, reason)
        return found


async def delivered_before(options: ConnectionOptions, job: Job) -> bool:
    """Ask a job's server whether it has lost a worker with the job.

    :param options: how to reach it
    :returns: False, too, if it cannot be asked: not all servers tell
    """
    try:
        address = Address.parse(job.server)
        jobs = await admin.show_jobs(address, options, _ASK_TIME)
    except (ConfigError, TransportError) as error:
        LOG.info("cannot tell whether a job was delivered before: %s", error)
        return False
    return any(each.retries for each in jobs if each.handle == job.handle)


def _name(unique: str, handle: str) -> tuple[str, str]:
    """What a job is known by: its handle only if it has no unique."""
    return unique, "" if unique else handle
