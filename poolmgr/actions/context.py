"""What an action is given besides its request."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from poolmgr.cloud import BlockingCloud, Cloud
from poolmgr.cloud.pace import time_limit
from poolmgr.errors import PoolmgrError
from poolmgr.ownership import Job, Mark, Ownership, time_now
from poolmgr.settings import PoolSettings
from poolmgr.tracing import RequestContext

T = TypeVar("T")

Log = logging.LoggerAdapter[logging.Logger]


class Run(Protocol):
    """The run of an action, as its context needs it."""

    settings: PoolSettings
    job: Job
    log: Log
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
    :ivar log: where to log; every line bears the job
    :ivar request_id: finds the job in the logs, the cloud's included; to be
        sent along with what is asked of other services, too
    :ivar began: when this delivery began, as marks write times
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.settings = run.settings
        self.job = run.job
        self.log = run.log
        self.request_id = run.trace.request_id
        self.began = time_now()
        # A context is made on the loop, for whatever thread.
        self._loop = asyncio.get_running_loop()

    @property
    def ownership(self) -> Ownership:
        """What may be touched."""
        return self.settings.ownership

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

    def remaining(self) -> float:
        """Seconds until the job's time is up; never negative."""
        return max(0.0, self._run.trace.end - self._loop.time())

    def new_mark(self) -> Mark:
        """Make the mark to put on what is made for this job."""
        return Mark.for_job(self.settings.pool, self.job)

    def is_left_over(self, mark: Mark | None) -> bool:
        """Whether an earlier delivery of this job left what bears this."""
        return mark is not None and mark.is_of(self.settings.pool, self.job)

    def is_spare(self, mark: Mark | None, before: Mark | None) -> bool:
        """Whether a thing made for this job can be deleted, once the job has
        another answer.

        What was handed over under the job's handle was not answered, or the
        job would not have come again.  But this worker may have lost its
        connection without noticing: then a later delivery may be building, or
        may have answered, what was made or taken over after this one began.

        :param mark: the thing's mark, of this job
        :param before: its mark when this delivery began, None if it was not
            to be seen then
        """
        if mark is None or mark.pool != self.settings.pool:
            return False
        if mark.taken != (before.taken if before else 0):
            return False
        if before is not None and mark.is_left:
            return True
        same = bool(self.job.handle) and mark.handle == self.job.handle
        return same and mark.made <= self.began


class Context(JobContext):
    """What an ``async def`` is given; it runs on the event loop.

    :ivar cloud: the cloud
    """

    def __init__(self, run: Run, cloud: Cloud) -> None:
        super().__init__(run)
        self.cloud = cloud

    def report(self, done: int, total: int) -> None:
        """Tell whoever waits how far the job has come.

        :param done: steps that are done
        :param total: all steps
        """
        self._run.report(done, total)

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

    @asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[None]:
        """Bound the block in time.

        :raises DeadlineExceeded: it was not done; says what it waited for
        """
        trace = self._run.trace
        # What goes wrong in the block is no reason for what comes after it.
        trouble, trace.trouble = trace.trouble, None
        try:
            async with time_limit(trace, seconds):
                yield
        finally:
            trace.trouble = trouble


class BlockingContext(JobContext):
    """What a plain ``def`` is given; it runs on a thread and may block.

    When the job's time is up, or the process stops, the call of the cloud
    under way raises, or else the next; later calls work, for clearing up.

    :ivar cloud: the cloud; its methods block
    """

    def __init__(self, run: Run, cloud: BlockingCloud) -> None:
        super().__init__(run)
        self.cloud = cloud

    def report(self, done: int, total: int) -> None:
        """See :meth:`Context.report`."""
        self._on_loop(lambda: self._run.report(done, total))

    def close(self) -> bool:
        """See :meth:`Context.close`."""
        return self._on_loop(self._run.close)

    def delivered_before(self) -> bool:
        """See :meth:`Context.delivered_before`."""
        return self.cloud.wait(self._run.delivered_before())

    def sleep(self, seconds: float) -> None:
        """Sleep; raises as a call of the cloud does when the job has to
        end."""
        self.cloud.wait(asyncio.sleep(seconds))

    def _on_loop(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()
