"""The context of an action: the cloud, the job, and its time limit."""

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Protocol

from poolmgr.cloud import BlockingCloud, Cloud
from poolmgr.cloud.pace import time_limit
from poolmgr.cloud.pool import run_on_thread
from poolmgr.errors import PoolmgrError, Stopped
from poolmgr.ownership import Job, Mark
from poolmgr.plugins import as_poolmgr_error
from poolmgr.settings import PoolSettings
from poolmgr.text import message_of
from poolmgr.tracing import RequestContext

#: Asks a job server whether it has lost a worker with the job.
AskJobServer = Callable[[Job], Coroutine[Any, Any, bool]]


class Run(Protocol):
    """The run that a context belongs to."""

    action: Any
    settings: PoolSettings
    job: Job
    trace: RequestContext
    delivered_before: AskJobServer

    @property
    def error(self) -> PoolmgrError | None:
        """Why the job was cancelled, or None."""

    def report(self, done: int, total: int) -> None:
        """Report progress to the clients."""

    def close(self) -> bool:
        """Let no delivery join if none waits; return whether none waits."""


class JobContext:
    """The common part of both contexts; :class:`Context` describes it."""

    def __init__(self, run: Run, cloud: Any) -> None:
        self.cloud = cloud
        self.log = logging.getLogger(type(run.action).__module__)
        self._run = run
        self.settings = run.settings
        self.job = run.job
        self.request_id = run.trace.request_id
        self._mark: Mark | None = None
        # Contexts are created on the loop, also those for a thread.
        self._loop = asyncio.get_running_loop()

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for the answer now.

        Another worker may have the job then: leave everything that was created
        for it.  A new delivery can still join.
        """
        return self._run.trace.abandoned

    @property
    def error(self) -> PoolmgrError | None:
        """Why the job was cancelled, or None: its deadline, a stop of the
        process, or its caller."""
        return self._run.error

    @property
    def max_wait(self) -> float:
        """Seconds to wait for quota, which leaves time for a boot.

        Commands do not wait.
        """
        if not self.job.server:
            return 0.0
        return min(self.settings.quota_wait, self.remaining() / 2)

    def doing(self, what: str) -> None:
        """Set what the action waits for, for the reason of a FAIL at the
        deadline.

        Calls to the cloud do this themselves.
        """
        self._run.trace.doing = message_of(what)

    def failing(self, error: PoolmgrError) -> None:
        """Set the error before a retry, for the reason of a FAIL at the
        deadline."""
        self._run.trace.trouble = as_poolmgr_error(error, "the action")

    def report(self, done: int, total: int) -> None:
        """Report the job's progress to its clients.

        :param done: number of finished steps
        :param total: number of all steps
        """
        # A plain action calls this on its thread.
        self._loop.call_soon_threadsafe(self._run.report, done, total)

    def remaining(self) -> float:
        """Seconds until the job's deadline; never negative."""
        return max(0.0, self._run.trace.end - self._loop.time())

    def new_mark(self) -> Mark:
        """Return the mark for a resource that this run creates.

        It is the same each time.
        """
        if self._mark is None:
            self._mark = Mark.for_job(self.settings.pool, self.job)
        return self._mark


class Context(JobContext):
    """The context of an ``async def``, which runs on the event loop.

    :ivar cloud: the cloud
    :ivar settings: the pool's settings
    :ivar job: the delivery that started the job
    :ivar log: where to log; a worker's log puts the request id in every line
    :ivar request_id: the job's id in all logs, those of the cloud included;
        send it with requests to other services
    """

    cloud: Cloud

    def close(self) -> bool:
        """If nobody waits, let no later delivery join this run.

        The next delivery then starts a new run.  Call this before leaving
        something for it.

        :returns: whether nobody waits
        """
        return self._run.close()

    async def delivered_before(self) -> bool:
        """Ask the job server whether a worker was lost with this job."""
        return await self._run.delivered_before(self.job)

    def limit(self, seconds: float) -> AbstractAsyncContextManager[None]:
        """Limit the time of a block: ``async with context.limit(5):``.

        :raises DeadlineExceeded: the block took too long
        """
        return time_limit(self._run.trace, seconds)


class BlockingContext(JobContext):
    """The context of a plain ``def``, which runs on a thread and may block.

    It has the attributes and methods of :class:`Context`, except ``close``,
    ``delivered_before`` and ``limit``.  When the job is cancelled, the current
    or next call of the cloud raises; later calls work, to clean up.

    :ivar cloud: the cloud; its methods block
    """

    cloud: BlockingCloud

    def sleep(self, seconds: float) -> None:
        """Sleep; raises like a call of the cloud when the job has to end."""
        self.cloud.wait(asyncio.sleep(seconds))


async def call_method(
    run: Run, cloud: Cloud, name: str, args: tuple[object, ...]
) -> Any:
    """Call a method of a run's action; a plain ``def`` runs on a thread.

    When the task is cancelled, an ``async def`` is cancelled, and in a plain
    ``def`` a call to the cloud raises.

    :raises PoolmgrError: every error of the method
    """
    doing = f"action {type(run.action).__name__}"
    try:
        method = getattr(run.action, name)
        if inspect.iscoroutinefunction(method):
            return await method(*args, Context(run, cloud))
        return await _call_on_thread(run, cloud, partial(method, *args))
    except BaseException as error:
        # A plugin may raise a CancelledError of its own.
        task = asyncio.current_task()
        cancelled = task is not None and task.cancelling() > 0
        if cancelled and isinstance(error, asyncio.CancelledError):
            raise
        raise as_poolmgr_error(error, doing)  # noqa: B904 - has its cause


async def _call_on_thread(
    run: Run, cloud: Cloud, method: Callable[[BlockingContext], object]
) -> object:
    blocking = BlockingCloud(cloud, asyncio.get_running_loop())
    done = run_on_thread(partial(method, BlockingContext(run, blocking)))
    try:
        return await asyncio.shield(done)
    # A thread cannot be cancelled: its call of the cloud raises instead.
    except asyncio.CancelledError:
        blocking.interrupt(run.error or Stopped("running the action"))
        return await asyncio.shield(done)
