"""What an action is given besides its request."""

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Protocol

from poolmgr.cloud import BlockingCloud, Cloud
from poolmgr.cloud.pace import time_limit
from poolmgr.cloud.pool import CallPool
from poolmgr.errors import PluginFailed, PoolmgrError, Stopped
from poolmgr.ownership import Job, Mark
from poolmgr.plugins import known
from poolmgr.settings import PoolSettings
from poolmgr.tracing import RequestContext


class Run(Protocol):
    """The run of an action, as its context needs it."""

    action: Any
    settings: PoolSettings
    job: Job
    trace: RequestContext

    @property
    def error(self) -> PoolmgrError | None:
        """Why the run was cancelled."""

    def report(self, done: int, total: int) -> None:
        """Tell who waits of progress."""

    def close(self) -> bool:
        """If nobody waits, let no delivery join any more."""

    async def delivered_before(self) -> bool:
        """Ask the job server whether a worker was lost with the job."""


class JobContext:
    """What contexts of both kinds have.

    :ivar settings: the pool's settings
    :ivar job: which delivery of which job this is
    :ivar log: where to log; a worker's log puts the request id in every line
    :ivar request_id: finds the job in the logs, the cloud's included; to be
        sent along with what is asked of other services, too
    """

    def __init__(self, run: Run, cloud: Any) -> None:
        self.cloud = cloud
        self.log = logging.getLogger(type(run.action).__module__)
        self._run = run
        self.settings = run.settings
        self.job = run.job
        self.request_id = run.trace.request_id
        # A context is made on the loop, for whatever thread.
        self._loop = asyncio.get_running_loop()

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for the answer at this moment.

        Then another worker may have the job, so what was made for it is to be
        left as it is.  A delivery that comes now still joins.
        """
        return self._run.trace.abandoned

    @property
    def error(self) -> PoolmgrError | None:
        """Why the job has to end, once it was cancelled: its time was up, the
        process stops, or its caller cancelled it."""
        return self._run.error

    @property
    def max_wait(self) -> float:
        """Seconds to wait for room in the cloud; it leaves time for a boot.

        None at all for what was asked by hand: a person wants to know.
        """
        if not self.job.server:
            return 0.0
        return min(self.settings.quota_wait, self.remaining() / 2)

    def doing(self, what: str) -> None:
        """Note what the action waits for; a FAIL at the deadline says it.

        Calls of the cloud note it themselves.
        """
        self._run.trace.doing = what

    def failing(self, error: PoolmgrError) -> None:
        """Note what the action is going to try again; a FAIL at the deadline
        says it."""
        self._run.trace.trouble = error

    def report(self, done: int, total: int) -> None:
        """Tell whoever waits how far the job has come.

        :param done: steps that are done
        :param total: all steps
        :raises PluginFailed: they are no such numbers
        """
        are_whole = type(done) is int and type(total) is int
        if not (are_whole and 0 <= done <= total):
            wrong = "must be two whole numbers, the first not above the other"
            raise PluginFailed(f"progress {wrong}")
        # From whatever thread.
        self._loop.call_soon_threadsafe(self._run.report, done, total)

    def remaining(self) -> float:
        """Seconds until the job's time is up; never negative."""
        return max(0.0, self._run.trace.end - self._loop.time())

    def new_mark(self) -> Mark:
        """Make the mark to put on what is made for this job."""
        return Mark.for_job(self.settings.pool, self.job)


class Context(JobContext):
    """What an ``async def`` is given; it runs on the event loop.

    :ivar cloud: the cloud
    """

    cloud: Cloud

    def close(self) -> bool:
        """If nobody waits, let no later delivery join this run.

        The job server starts the job anew then.  To be called before what was
        made is left unmarked, or for the next delivery.

        :returns: whether nobody waits
        """
        return self._run.close()

    async def delivered_before(self) -> bool:
        """Ask the job server whether a worker was lost with this job."""
        return await self._run.delivered_before()

    def limit(self, seconds: float) -> AbstractAsyncContextManager[None]:
        """Bound a block in time, by ``async with``.

        :raises DeadlineExceeded: it was not done; says what it waited for
        """
        return time_limit(self._run.trace, seconds)


class BlockingContext(JobContext):
    """What a plain ``def`` is given; it runs on a thread and may block.

    When the job's time is up, or the process stops, the call of the cloud
    under way raises, or else the next; later calls work, for clearing up.

    :ivar cloud: the cloud; its methods block
    """

    cloud: BlockingCloud

    def delivered_before(self) -> bool:
        """See :meth:`Context.delivered_before`."""
        return self.cloud.wait(self._run.delivered_before())

    def sleep(self, seconds: float) -> None:
        """Sleep; raises as a call of the cloud does when the job has to
        end."""
        self.cloud.wait(asyncio.sleep(seconds))


async def call_method(
    run: Run, cloud: Cloud, name: str, args: tuple[object, ...]
) -> Any:
    """Call a method of a run's action; a plain ``def`` runs on a thread of
    its own.

    A cancel reaches an ``async def`` as usual, and a plain ``def`` as an
    error of its call of the cloud.

    :raises PoolmgrError: whatever the method raised
    """
    doing = f"action {type(run.action).__name__}"
    try:
        method = getattr(run.action, name)
        if inspect.iscoroutinefunction(method):
            return await method(*args, Context(run, cloud))
        return await _call_on_thread(run, cloud, doing, partial(method, *args))
    except BaseException as error:
        # A plugin may raise a CancelledError of its own.
        task = asyncio.current_task()
        cancelled = task is not None and task.cancelling() > 0
        if cancelled and isinstance(error, asyncio.CancelledError):
            raise
        failure = known(error, doing)
    raise failure


async def _call_on_thread(
    run: Run, cloud: Cloud, doing: str, method: Callable[..., object]
) -> object:
    blocking = BlockingCloud(cloud, asyncio.get_running_loop())
    thread = CallPool(1)
    done = thread.submit(partial(method, BlockingContext(run, blocking)))
    thread.close()  # it ends with its work
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        blocking.interrupt(run.error or Stopped(doing))
        return await asyncio.shield(done)
