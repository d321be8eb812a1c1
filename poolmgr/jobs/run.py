"""A run of an action, and the deliveries that wait for its answer."""

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from poolmgr.actions.context import AskJobServer, call_method
from poolmgr.cloud import Cloud
from poolmgr.cloud.pace import time_limit
from poolmgr.errors import Cancelled, DeadlineExceeded, PoolmgrError, Stopped
from poolmgr.events import Outcome, RunningJob, tell
from poolmgr.jobs.request import CLEANUP_GRACE, JobRequest
from poolmgr.ownership import Job
from poolmgr.text import message_of, one_line
from poolmgr.tracing import RequestContext, bound

LOG = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

#: Timeout in seconds of an action's ``undo`` and ``undelivered``.
FOLLOW_UP_TIME = 60.0


class Delivery:
    """A delivery of a job, which waits for the answer.

    :ivar future: the outcome, never an exception; cancelling it cancels the
        delivery
    :ivar lost: whether the answer cannot be delivered any more
    :ivar progress: called with the number of finished steps and of all steps
    """

    __slots__ = ("_run", "future", "lost", "progress")

    def __init__(self, run: "JobRun", progress: Progress | None) -> None:
        loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Outcome] = loop.create_future()
        self.future.add_done_callback(self._cancel_if_cancelled)
        self.lost = False
        self._run = run
        self.progress = progress

    @property
    def undo_failed(self) -> bool:
        """Whether undoing the answer has failed or is not finished."""
        return self._run.undo_failed

    def connection_lost(self) -> None:
        """Report that the answer cannot be delivered; the job continues."""
        self.lost = True
        self._run.update_abandoned()

    def cancel(self) -> bool:
        """Cancel the job, or only this delivery if others wait for the job.

        The job cleans up, and its outcome is a FAIL.

        :returns: False if there already is an outcome
        """
        return self._run.cancel_delivery(self)

    def undo(self) -> None:
        """Report that the job server refused the answer.

        What the action did is undone, unless another delivery was answered.
        """
        self.connection_lost()
        self._run.follow_up(sent=False, refused=True)

    def undelivered(self, sent: bool) -> None:
        """Report that the connection broke before the answer was confirmed.

        :param sent: whether the answer was sent; it may have arrived
        """
        self.connection_lost()
        self._run.follow_up(sent)

    def answer(self, outcome: Outcome) -> None:
        """Set the outcome, unless the delivery has one."""
        if not self.future.done():
            self.future.set_result(outcome)

    def _cancel_if_cancelled(self, future: "asyncio.Future[Outcome]") -> None:
        if future.cancelled():
            self.cancel()


class JobRun:
    """A run of an action, for one or more deliveries of a job.

    :param job: the first delivery
    :param on_outcome: called before the outcome is answered
    :param delivered_before: see ``AsyncPoolManager``
    :ivar trace: the request context of the job's calls to the cloud
    :ivar key: equal for deliveries that can join the run
    :ivar started: when the run started, by the loop's clock
    :ivar closed: whether no delivery can join any more
    :ivar undo_failed: whether undoing the answer has failed or is not finished
    """

    def __init__(
        self,
        asked: JobRequest,
        job: Job,
        cloud: Cloud,
        on_outcome: Callable[["JobRun", Outcome], None],
        delivered_before: AskJobServer,
    ) -> None:
        self.asked, self.job = asked, job
        self.action, self.settings = asked.instance, asked.settings
        urgent = asked.action is not None and not asked.action.long
        self.trace = RequestContext(asked.name, job, urgent=urgent)
        # Jobs without a unique have nothing in common.
        self.key = job.unique or self.trace.request_id, asked.content
        self.closed = self.undo_failed = False
        self._cloud = cloud
        self._on_outcome = on_outcome
        self.delivered_before = delivered_before
        self._loop = asyncio.get_running_loop()
        self.started = self._loop.time()
        self._deliveries: list[Delivery] = []
        self._timer: asyncio.TimerHandle | None = None
        self._outcome: Outcome | None = None
        self._error: PoolmgrError | None = None
        self._may_have_arrived = False

    def start(self, tasks: "set[asyncio.Task[Any]]") -> None:
        """Start the action; ``tasks`` has its task until it ends."""
        seconds = self.asked.timeout
        self.trace.end = self.started + seconds
        work = call_method(self, self._cloud, "run", (self.asked.request,))
        with bound(self.trace):
            self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._action_ended)
        late = partial(DeadlineExceeded, seconds=seconds)
        self._timer = self._loop.call_later(seconds, self.cancel, late)
        self._tasks = tasks
        tasks.add(self._task)

    def state(self) -> RunningJob:
        """Return the job's state for reports."""
        return RunningJob(
            self.job,
            self.trace.action,
            self._loop.time() - self.started,
            self.asked.timeout + self.asked.cleanup_time + CLEANUP_GRACE,
            sum(not each.lost for each in self._deliveries),
            self.trace.request_id,
            self.trace.doing,
        )

    def join(self, job: Job, progress: Progress | None) -> Delivery:
        """Add a delivery that waits for the answer."""
        if self._deliveries:
            what = f"joined by the delivery {one_line(job.handle)}"
            self._log(logging.INFO, what)
        delivery = Delivery(self, progress)
        self._deliveries.append(delivery)
        self.update_abandoned()
        if self._outcome is not None:
            delivery.answer(self._outcome)
        return delivery

    def update_abandoned(self) -> None:
        """Set whether the run is abandoned: no delivery waits any more."""
        self.trace.abandoned = all(each.lost for each in self._deliveries)

    @property
    def error(self) -> PoolmgrError | None:
        """Why the job was cancelled, or None."""
        if isinstance(self._error, DeadlineExceeded):
            # The last failure says more. A job that waits at a circuit
            # breaker sets it only when it is cancelled.
            return self.trace.trouble or self._error
        return self._error

    def close(self) -> bool:
        """Let no delivery join if none waits; return whether none waits."""
        self.closed = self.closed or self.trace.abandoned
        return self.trace.abandoned

    def report(self, done: int, total: int) -> None:
        """Report progress to the clients."""
        for delivery in self._deliveries:
            if delivery.progress is not None:
                tell(partial(delivery.progress, done), total)

    def cancel(self, make_error: Callable[[str], PoolmgrError]) -> None:
        """Cancel the action, which then has time to clean up.

        :param make_error: makes the error from what the job is doing
        """
        # A second cancel would interrupt the clean-up.
        if self._error is not None or self._outcome is not None:
            return
        self._error = make_error(self.trace.doing or self.asked.title)
        # A client that cancels a job and sends it again wants a new run.
        self.closed = self.closed or make_error is Cancelled
        seconds = self.asked.cleanup_time
        self.trace.end = self._loop.time() + seconds
        if self._timer is not None:
            self._timer.cancel()
        seconds += CLEANUP_GRACE
        self._timer = self._loop.call_later(seconds, self._give_up)
        self._task.cancel()

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

    def _give_up(self) -> None:
        """Answer for an action that does not end."""
        self.finish(self.asked.fail(self.error or Stopped(self.asked.title)))

    def _action_ended(self, task: "asyncio.Task[Any]") -> None:
        """Answer; if the job has an answer already, undo the action."""
        self._tasks.discard(task)
        try:
            passed = self.asked.succeed(task.result())
        except asyncio.CancelledError:
            self._give_up()
        except PoolmgrError as error:
            self.finish(self.asked.fail(error))
        else:
            # Its caller wants a FAIL, and nothing left behind.
            if isinstance(self._error, Cancelled):
                self._give_up()
            if self._outcome is None:
                self.finish(passed)
            else:
                self._undo(passed, "it ended after its answer")

    def finish(self, outcome: Outcome) -> None:
        """Answer all deliveries, once."""
        if self._outcome is not None:
            return
        self.closed = True
        self._outcome = outcome
        if self._timer is not None:
            self._timer.cancel()
        try:
            with bound(self.trace):
                self._on_outcome(self, outcome)
        finally:
            for delivery in self._deliveries:
                delivery.answer(outcome)

    def follow_up(self, sent: bool, refused: bool = False) -> None:
        """See :meth:`Delivery.undelivered` and :meth:`Delivery.undo`."""
        self._may_have_arrived = arrived = self._may_have_arrived or sent
        outcome = self._outcome
        if outcome is None or outcome.error or not self.trace.abandoned:
            return
        if refused and not arrived:
            self._undo(outcome, "its answer was refused")
            return
        when, level = "before", logging.INFO
        if arrived:
            when, level = "just after", logging.WARNING
        self._log(level, f"connection lost {when} its answer was sent")
        self._follow_up("undelivered", outcome.added, arrived)

    def _undo(self, outcome: Outcome, why: str) -> None:
        self._log(logging.WARNING, f"{why}; undoing it")
        self.undo_failed = True
        self._follow_up("undo", outcome.added)

    def _follow_up(self, method: str, *args: object) -> None:
        """Call the action's ``undo`` or ``undelivered`` in a task."""

        async def call() -> None:
            # The deadline and the errors of the job are over.
            self._error = self.trace.trouble = None
            self.trace.end = math.inf
            try:
                async with time_limit(self.trace, FOLLOW_UP_TIME, method):
                    await call_method(self, self._cloud, method, args)
            except PoolmgrError as error:
                failed = f"{method} failed: {one_line(message_of(error))}"
                self._log(logging.ERROR, failed)
            else:
                self.undo_failed = False

        with bound(self.trace):
            self._cloud.calls.own(call())

    def _log(self, level: int, what: str) -> None:
        unique, handle = one_line(self.job.unique), one_line(self.job.handle)
        LOG.log(level, "unique=%s handle=%s: %s", unique, handle, what)
