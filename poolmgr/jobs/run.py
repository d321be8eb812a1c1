"""One run of an action: who waits for it, how it ends, what is undone."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from poolmgr.actions.context import call_method
from poolmgr.cloud import Cloud
from poolmgr.cloud.pace import time_limit
from poolmgr.errors import Cancelled, DeadlineExceeded, PoolmgrError, Stopped
from poolmgr.events import EndedJob, Outcome, RunningJob
from poolmgr.jobs.delivery import Delivery, Progress
from poolmgr.jobs.request import GRACE, JobRequest
from poolmgr.ownership import Job
from poolmgr.text import one_line, words_of
from poolmgr.tracing import RequestContext, bound

LOG = logging.getLogger(__name__)

#: Seconds that seeing to an answer nobody had may take.
FOLLOW_UP_TIME = 60.0


class RunOwner(Protocol):
    """What runs jobs, as a run needs it."""

    cloud: Cloud
    ask_delivered_before: Callable[[Job], Awaitable[bool]] | None
    follow_ups: set[asyncio.Task[Any]]

    def run_ended(self, run: "JobRun", ended: EndedJob) -> None:
        """The run has its outcome."""


class JobRun:
    """One run of an action, for one or more deliveries of a job.

    :param owner: runs the jobs
    :param asked: what the job asks for
    :param job: the first delivery
    :ivar settings: those that it began with
    :ivar action: the object that runs
    :ivar trace: tells the cloud what its calls are for
    :ivar closed: whether no delivery can join any more
    :ivar undo_failed: whether something that was to be undone is left
    """

    def __init__(self, owner: RunOwner, asked: JobRequest, job: Job) -> None:
        self.asked = asked
        self.action = asked.instance
        self.job = job
        self.settings = asked.settings
        urgent = asked.action is not None and not asked.action.long
        self.trace = RequestContext(asked.name, job, urgent=urgent)
        self.closed = False
        self.undo_failed = False
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._deliveries: list[Delivery] = []
        self._timer: asyncio.TimerHandle | None = None
        self._outcome: Outcome | None = None
        # What the action has returned, if it is none of its failures.
        self._passed: Outcome | None = None
        self._error: PoolmgrError | None = None
        self._doubted = False

    def start(self) -> "asyncio.Task[Any]":
        """Start the action.

        :returns: its task, which may never end
        """
        seconds = self.asked.timeout
        self.trace.end = self._started + seconds
        with bound(self.trace):
            self._task = self._loop.create_task(
                self._call("run", self.asked.request)
            )
        self._task.add_done_callback(self._action_ended)
        late = partial(DeadlineExceeded, seconds=seconds)
        self._timer = self._loop.call_later(seconds, self.cancel, late)
        return self._task

    def state(self) -> RunningJob:
        """What is known of it while it runs."""
        return RunningJob(
            self.job,
            self.trace.action,
            self._loop.time() - self._started,
            self.asked.limit,
            sum(not each.lost for each in self._deliveries),
            self.trace.request_id,
            self.trace.doing,
        )

    # -- deliveries ---------------------------------------------------------

    def join(self, job: Job, progress: Progress | None) -> Delivery:
        """Add a delivery that waits for the answer."""
        if self._deliveries:
            what = f"joined by the delivery {one_line(job.handle)}"
            self._log(logging.INFO, what)
        delivery = Delivery(self, progress)
        self._deliveries.append(delivery)
        self.count_waiters()
        if self._outcome is not None:
            delivery.answer(self._outcome)
        return delivery

    def count_waiters(self) -> None:
        """Note whether anybody waits any more."""
        self.trace.abandoned = all(each.lost for each in self._deliveries)

    def cancel_delivery(self, delivery: Delivery) -> bool:
        """See :meth:`Delivery.cancel`."""
        if self._outcome is not None or delivery not in self._deliveries:
            return False
        if any(not d.lost for d in self._deliveries if d is not delivery):
            self._deliveries.remove(delivery)
            delivery.answer(self.asked.fail(Cancelled(self.asked.title)))
        else:
            self.cancel(Cancelled)
        return True

    def undelivered(self, sent: bool, refused: bool = False) -> None:
        """See to a PASS that nobody has had, or nobody for certain.

        :param sent: see :meth:`Delivery.undelivered`
        :param refused: the job server did not want the answer
        """
        # Whether a client may have had the answer, though nobody knows.
        self._doubted = self._doubted or sent
        passed = self._passed is not None and self._outcome is self._passed
        if not (passed and self.trace.abandoned):
            return
        if refused and not self._doubted:
            self._undo()
            return
        # Where it was not sent, the loss of the connection has been told.
        when = "just after" if self._doubted else "before"
        level = logging.WARNING if self._doubted else logging.INFO
        self._log(level, f"connection lost {when} its answer was sent")
        doing = "noting that its answer was not delivered"
        self._follow_up(doing, "undelivered", self._doubted)

    # -- for the action's context -------------------------------------------

    @property
    def error(self) -> PoolmgrError | None:
        """Why it was cancelled; None while it was not."""
        if isinstance(self._error, DeadlineExceeded):
            # What went wrong last says more than that the time was up.  Who
            # waits at a circuit breaker notes it only when the cancel comes.
            return self.trace.trouble or self._error
        return self._error

    def close(self) -> bool:
        """If nobody waits, let no delivery join any more."""
        self.closed = self.closed or self.trace.abandoned
        return self.trace.abandoned

    async def delivered_before(self) -> bool:
        """Ask the job server whether a worker was lost with the job."""
        ask = self._owner.ask_delivered_before
        return ask is not None and await ask(self.job)

    def report(self, done: int, total: int) -> None:
        """Tell whoever waits of progress."""
        for delivery in self._deliveries:
            delivery.report(done, total)

    def _call(self, name: str, *args: object) -> Coroutine[Any, Any, Any]:
        return call_method(self, self._owner.cloud, name, args)

    # -- the end ------------------------------------------------------------

    def refuse(self, error: PoolmgrError) -> None:
        """Answer without running the action."""
        self._finish(self.asked.fail(error))

    def cancel(self, why: Callable[[str], PoolmgrError]) -> None:
        """Have the action end; it has its time to clear up.

        Only the first cancel counts, so that none breaks off the clean-up.

        :param why: makes an error of what the job is doing
        """
        if self._error is not None or self._outcome is not None:
            return
        self._error = why(self.trace.doing or self.asked.title)
        # Whoever cancelled a job and sends it again wants a new one.
        self.closed = self.closed or why is Cancelled
        seconds = self.asked.cleanup_time
        self.trace.end = self._loop.time() + seconds
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds + GRACE, self._give_up)
        self._task.cancel()

    def _give_up(self) -> None:
        """Answer, if nobody has, although the action has not returned."""
        self._finish(self.asked.fail(self.error or Stopped(self.asked.title)))

    def _action_ended(self, task: "asyncio.Task[Any]") -> None:
        """Give the answer, unless it was given already: then undo it."""
        if task.cancelled():
            self._give_up()
            return
        try:
            self._passed = self.asked.succeed(task.result())
        except PoolmgrError as error:
            self._finish(self.asked.fail(error))
            return
        if isinstance(self._error, Cancelled):
            self._finish(self.asked.fail(self._error))
        if not self._finish(self._passed):
            self._undo()

    def _finish(self, outcome: Outcome) -> bool:
        """Give the answer to everybody, once; whether this was the once."""
        if self._outcome is not None:
            return False
        self.closed = True
        self._outcome = outcome
        if self._timer is not None:
            self._timer.cancel()
        ended = EndedJob(
            self.job,
            "" if self.asked.action is None else self.asked.name.upper(),
            self.asked.name,
            self.trace.request_id,
            self.asked.fields,
            outcome,
            self._loop.time() - self._started,
        )
        try:
            with bound(self.trace):
                self._owner.run_ended(self, ended)
        finally:
            for delivery in self._deliveries:
                delivery.answer(outcome)
        return True

    # -- after the end ------------------------------------------------------

    def _undo(self) -> None:
        self._log(logging.WARNING, "its answer was refused; undoing it")
        self.undo_failed = True
        self._follow_up("undoing an answer", "undo")

    def _follow_up(self, doing: str, name: str, *args: object) -> None:
        """Have the action see to a PASS that its client has not had."""
        assert self._passed is not None  # noqa: S101 - it has passed
        work = self._call_after(doing, name, self._passed.added, *args)
        with bound(self.trace):
            keep(self._loop.create_task(work), self._owner.follow_ups)

    async def _call_after(self, doing: str, name: str, *args: object) -> None:
        self._error = self.trace.trouble = None
        self.trace.end = math.inf
        try:
            async with time_limit(self.trace, FOLLOW_UP_TIME, doing):
                await self._call(name, *args)
        except PoolmgrError as error:
            failed = f"{doing} failed: {one_line(words_of(error))}"
            self._log(logging.ERROR, failed)
        else:
            self.undo_failed = False

    def _log(self, level: int, what: str) -> None:
        unique, handle = one_line(self.job.unique), one_line(self.job.handle)
        LOG.log(level, "unique=%s handle=%s: %s", unique, handle, what)


def keep(task: asyncio.Task[Any], among: set[asyncio.Task[Any]]) -> None:
    """Keep a task while it runs."""
    among.add(task)
    task.add_done_callback(among.discard)
