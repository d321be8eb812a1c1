"""One run of an action: who waits for it, how it ends, what is undone."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Literal, Protocol

from poolmgr.actions.base import Action
from poolmgr.actions.context import Log
from poolmgr.cloud import Cloud
from poolmgr.errors import (
    Cancelled,
    DeadlineExceeded,
    PoolmgrError,
    Stopped,
)
from poolmgr.events import EndedJob, Outcome, RunningJob
from poolmgr.jobs import message as wire
from poolmgr.jobs.afterwards import Afterwards
from poolmgr.jobs.call import ActionCaller
from poolmgr.jobs.delivery import Delivery, Progress
from poolmgr.jobs.log import JobLog
from poolmgr.jobs.message import PASS
from poolmgr.jobs.outcome import check_progress, checked, failed, known
from poolmgr.jobs.request import GRACE, JobRequest, ended_job
from poolmgr.ownership import Job
from poolmgr.settings import PoolSettings
from poolmgr.text import one_line
from poolmgr.tracing import RequestContext, bound

LOG = logging.getLogger(__name__)

Reason = Literal["deadline", "stop", "cancelled"]


class RunOwner(Protocol):
    """What runs jobs, as a run needs it."""

    cloud: Cloud
    settings: PoolSettings

    def start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine, and wait for it before closing."""

    def run_ended(self, run: "JobRun", ended: EndedJob) -> None:
        """The run has its outcome."""

    def delivered_before(self, job: Job) -> Coroutine[Any, Any, bool]:
        """Ask the job server whether a worker was lost with a job."""


class JobRun:
    """One run of an action, for one or more deliveries of a job."""

    def __init__(self, owner: RunOwner, asked: JobRequest, job: Job) -> None:
        assert asked.action is not None  # noqa: S101 - it was read
        self.asked = asked
        self.job = job
        #: Kept: the manager may have others before it ends.
        self.settings = owner.settings
        self._error: PoolmgrError | None = None
        urgent = not asked.action.long
        self.trace = RequestContext(asked.name, job, urgent=urgent)
        logger = logging.getLogger(asked.action.__module__)
        self.log: Log = JobLog(logger, asked.name, job)
        self._owner = owner
        self._action: type[Action[Any]] = asked.action
        self._caller = ActionCaller(asked.action, self, owner.cloud)
        self._afterwards = Afterwards(self, self._caller, owner.start_task)
        self._doing = f"action {asked.action.__name__}"
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self.trace.end = self._started + asked.timeout
        self._reason: Reason | None = None
        self._deliveries: list[Delivery] = []
        self._outcome: Outcome | None = None
        self._closed = False
        # Whether a client may have had the answer, though nobody knows.
        self._doubted = False

    def start(self) -> "asyncio.Task[None]":
        """Start the action.

        :returns: its task, which may never end
        """
        with bound(self.trace):
            self._task = self._loop.create_task(self._run())
            self._task.add_done_callback(self._give_up)
            self._timer = self._loop.call_later(
                self.asked.timeout, self.cancel, "deadline"
            )
        return self._task

    @property
    def undo_failed(self) -> bool:
        """Whether something that was to be undone is left."""
        return self._afterwards.undo_failed

    def state(self) -> RunningJob:
        """What is known of it while it runs."""
        return RunningJob(
            self.job,
            self.trace.action,
            self._loop.time() - self._started,
            self.asked.limit,
            len(self._waiting_deliveries()),
            self.trace.request_id,
            self.trace.doing,
        )

    # -- deliveries ---------------------------------------------------------

    def join(self, job: Job, progress: Progress | None) -> Delivery | None:
        """Add a delivery that waits for the answer.

        :returns: None when it is too late
        """
        if self._closed:
            return None
        if self._deliveries:
            LOG.info(
                "unique=%s handle=%s joins the running job",
                one_line(job.unique),
                one_line(job.handle),
            )
        delivery = Delivery(self, progress)
        self._deliveries.append(delivery)
        self.trace.abandoned = False
        return delivery

    def lose(self, delivery: Delivery) -> None:
        """See :meth:`Delivery.connection_lost`."""
        delivery.lost = True
        self.trace.abandoned = not self.has_waiters()

    def cancel_delivery(self, delivery: Delivery) -> bool:
        """See :meth:`Delivery.cancel`."""
        if self._outcome is not None or delivery not in self._deliveries:
            return False
        if any(d is not delivery for d in self._waiting_deliveries()):
            self._deliveries.remove(delivery)
            error = Cancelled(self.trace.doing or self._doing)
            delivery.answer(self._failed(error))
        else:
            self.cancel("cancelled")
        return True

    def undo_for(self, delivery: Delivery) -> None:
        """See :meth:`Delivery.undo`."""
        outcome = self._unheard_outcome(delivery)
        if outcome is not None and self._doubted:
            self._afterwards.undelivered(outcome.added, sent=True)
        elif outcome is not None:
            self._afterwards.undo(outcome.added)

    def undelivered_for(self, delivery: Delivery, sent: bool) -> None:
        """See :meth:`Delivery.undelivered`."""
        self._doubted = self._doubted or sent
        outcome = self._unheard_outcome(delivery)
        if outcome is not None:
            self._afterwards.undelivered(outcome.added, self._doubted)

    def _unheard_outcome(self, delivery: Delivery) -> Outcome | None:
        """The PASS that this delivery has not had, if no other had it."""
        self.lose(delivery)
        outcome = self._outcome
        if outcome is None or outcome.error is not None or self.has_waiters():
            return None
        return outcome

    def _waiting_deliveries(self) -> list[Delivery]:
        """The deliveries that can still have the answer."""
        return [each for each in self._deliveries if not each.lost]

    # -- for the action's context -------------------------------------------

    def has_waiters(self) -> bool:
        """Whether anybody can still have the answer."""
        return bool(self._waiting_deliveries())

    def close(self) -> bool:
        """If nobody waits, let no delivery join any more."""
        self._closed = self._closed or not self.has_waiters()
        return not self.has_waiters()

    def remaining(self) -> float:
        """Seconds until its time is up."""
        return max(0.0, self.trace.end - self._loop.time())

    def delivered_before(self) -> Coroutine[Any, Any, bool]:
        """Ask the job server whether a worker was lost with the job."""
        return self._owner.delivered_before(self.job)

    def report(self, done: int, total: int) -> None:
        """Tell whoever waits of progress.

        :raises PluginFailed: these are no numbers of steps
        """
        check_progress(self._doing, done, total)
        for delivery in self._deliveries:
            delivery.report(done, total)

    # -- the end ------------------------------------------------------------

    def cancel(self, reason: Reason) -> None:
        """Have the action end; it has its time to clear up.

        Only the first cancel counts, so that none breaks off the clean-up.
        """
        if self._reason is not None or self._outcome is not None:
            return
        self._reason = reason
        self._error = self._error_for(reason)
        self._closed = self._closed or reason == "cancelled"
        self.trace.doing, self.trace.trouble = "", None
        self.trace.end = self._loop.time() + self.asked.cleanup_time
        self._timer.cancel()
        self._timer = self._loop.call_later(
            self.asked.cleanup_time + GRACE, self._give_up
        )
        self._task.cancel()

    @property
    def error(self) -> PoolmgrError | None:
        """Why it was cancelled; None while it was not."""
        if isinstance(self._error, DeadlineExceeded) and self.trace.trouble:
            # What went wrong last says more than that the time was up; who
            # waited at a breaker notes it only when the cancel comes.
            self._error, self.trace.trouble = self.trace.trouble, None
        return self._error

    def _error_for(self, reason: Reason) -> PoolmgrError:
        doing = self.trace.doing or self._doing
        if reason == "stop":
            return Stopped(doing)
        if reason == "cancelled":
            return Cancelled(doing)
        timeout = DeadlineExceeded(doing, self.asked.timeout)
        return self.trace.trouble or timeout

    def _why(self) -> PoolmgrError:
        return self.error or Stopped(self._doing)

    def _give_up(self, *_task: object) -> None:
        """Answer, if nobody has, although the action has not returned."""
        if self._outcome is None:
            self._finish(self._failed(self._why()))

    async def _run(self) -> None:
        result = outcome = await self._caller.call(
            "run",
            self.asked.request,
            settle=self._settle,
            late=self._why,
        )
        if self._reason == "cancelled" and result.error is None:
            outcome = self._failed(self._why())
        in_time = self._finish(outcome) and outcome is result
        if not in_time and result.error is None:
            self._afterwards.undo(result.added)

    def _settle(
        self, returned: object, raised: BaseException | None
    ) -> Outcome:
        if raised is not None:
            return self._failed(known(raised, self._doing))
        asked, action = self.asked, self._action
        added = checked(action.__name__, asked.answers, returned)
        followed = (
            action.undo is not Action.undo
            or action.undelivered is not Action.undelivered
        )
        answer = wire.answer(asked.fields, PASS, added)
        return Outcome(answer, added, followed=followed)

    def _failed(self, error: PoolmgrError) -> Outcome:
        asked, explain = self.asked, self.settings.explain_failures
        return failed(error, asked.fields, asked.answers, explain)

    def _finish(self, outcome: Outcome) -> bool:
        """Give the answer to everybody, once; whether this was the once."""
        if self._outcome is not None:
            return False
        self._closed = True
        self._outcome = outcome
        self._timer.cancel()
        seconds = self._loop.time() - self._started
        ended = ended_job(self.asked, self.trace, outcome, seconds)
        try:
            self._owner.run_ended(self, ended)
        finally:
            for delivery in self._deliveries:
                delivery.answer(outcome)
        return True

    def renew(self, seconds: float) -> None:
        """Give the action time again, to see to an answer nobody had."""
        self._error = None
        self.trace.end = self._loop.time() + seconds
