"""Runs the actions that messages ask for, and answers each message once."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

from poolmgr.actions.base import Action, action_plugins
from poolmgr.actions.context import AskJobServer
from poolmgr.cloud import Cloud, Pace
from poolmgr.cloud.pool import run_on_thread
from poolmgr.drivers.base import Driver
from poolmgr.drivers.verbs import close_driver, driver_plugins, make_driver
from poolmgr.errors import Closed, PoolmgrError, Stopped
from poolmgr.events import EndedJob, Observer, Outcome, RunningJob, tell
from poolmgr.jobs import message as wire
from poolmgr.jobs.message import Message
from poolmgr.jobs.request import JobRequest
from poolmgr.jobs.run import Delivery, JobRun, Progress
from poolmgr.ownership import Job
from poolmgr.settings import PoolSettings
from poolmgr.text import one_line

#: The logger of the line for each job; its name is documented.
_JOB_LOG = logging.getLogger("poolmgr.jobs.log")


async def _was_never_delivered(job: Job) -> bool:
    return False


class AsyncPoolManager:
    """Runs actions on a cloud, in a program with an event loop.

    Use it on one loop; only ``is_long`` and ``running`` may be called from
    any thread.  ``async with`` closes it.

    :param driver: a driver; or the name of an installed one, which is then
        created with its default settings and closed with the manager; or a
        :class:`~poolmgr.cloud.Cloud`
    :param settings: the pool's settings
    :param actions: action classes by name, besides the installed ones
    :param observer: told of every job that ends, and of every call of the
        cloud; its exceptions are logged
    :param pace: how long to wait for the cloud
    :ivar driver: the cloud's driver
    :ivar cloud: the cloud, for operations that no action offers
    :ivar delivered_before: asks a job server whether a worker was lost
        with a job; a worker sets it
    :raises PluginError: the driver named cannot be used
    :raises Forked: the driver was created before this process was forked
    """

    def __init__(
        self,
        driver: Driver | Cloud | str,
        settings: PoolSettings | None = None,
        actions: Mapping[str, type[Action[Any]]] | None = None,
        observer: Observer | None = None,
        pace: Pace = Pace(),  # noqa: B008 - it is frozen
    ) -> None:
        self.settings = settings or PoolSettings()
        self.observer = observer or Observer()
        self._owns_driver = isinstance(driver, str)
        if isinstance(driver, str):
            driver = make_driver(driver_plugins().load(driver))
        if not isinstance(driver, Cloud):
            if not isinstance(driver, Driver):
                raise TypeError(f"no driver object or name: {driver!r}")
            driver.require_own_process()
            driver = Cloud(
                driver,
                ownership=lambda: self.settings.ownership,
                observer=observer,
                pace=pace,
            )
        self.cloud, self.driver = driver, driver.driver
        self.actions = action_plugins(actions)
        self.delivered_before: AskJobServer = _was_never_delivered
        # The unanswered runs by unique and content: clients may use a unique
        # for several jobs.
        self._runs: dict[tuple[str, str], JobRun] = {}
        # An answered action may still run.
        self._tasks: set[asyncio.Task[Any]] = set()
        # Makes the error of new jobs, once there is one.
        self._refuse: Callable[[], PoolmgrError] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def run(self, message: object, job: Job | None = None) -> Message:
        """Answer a message.  Cancelling the caller cancels the job.

        :param message: its payload as bytes, its text, or a mapping
        :param job: the delivery; a new one when None
        :returns: the answer, always with ``"response"``
        """
        return (await self.submit(message, job).future).answer

    async def execute(
        self, action: str, **fields: object
    ) -> Mapping[str, Any]:
        """Run an action and return its fields; raise the error of a FAIL.

        Cancelling the caller cancels the job.

        :param action: its name, such as ``"BUILD_DEVICE"``
        :param fields: the request's fields
        :returns: the fields that the action adds to an answer
        :raises PoolmgrError: the job failed
        """
        outcome = await self.submit({"action": action, **fields}).future
        return added_by(outcome)

    def submit(
        self,
        message: object,
        job: Job | None = None,
        progress: Progress | None = None,
    ) -> Delivery:
        """Start a job without waiting for it.

        A message with the same content and unique as a running job joins it.

        :param message: as of :meth:`run`
        :param job: as of :meth:`run`
        :param progress: called as ``progress(done, total)``
        :returns: the delivery; its future has the outcome
        """
        asked = JobRequest.parse(message, self.actions, self.settings)
        loop = self.cloud.calls.loop
        if loop not in (None, asyncio.get_running_loop()):
            raise PoolmgrError("create a pool manager for each event loop")
        job = job or Job.by_hand()
        new = JobRun(asked, job, self.cloud, self._end, self.delivered_before)
        run = self._runs.get(new.key)
        if run is None or run.closed:
            run = new
            error = asked.error or (self._refuse and self._refuse())
            if error is not None:
                run.finish(asked.fail(error))
            else:
                self._runs[run.key] = run
                run.start(self._tasks)
        return run.join(job, progress)

    def is_long(self, message: object) -> bool:
        """Return whether a message asks for a long action."""
        try:
            name = wire.decode(message)["action"]
            return bool(self.actions.load(name).long)  # type: ignore[arg-type]
        except Exception:
            # The job fails at once; its answer has the reason.
            return False

    def running(self) -> list[RunningJob]:
        """Return the jobs that run now, the oldest first."""
        # Other threads may call this: list() copies without interruption.
        found = [run.state() for run in list(self._runs.values())]
        return sorted(found, key=lambda job: -job.seconds)

    def adopt(self, settings: PoolSettings) -> None:
        """Use other settings for new jobs; running jobs keep theirs."""
        self.settings = settings

    def stop(self) -> None:
        """Cancel all jobs: they clean up and fail."""
        self._refuse = partial(Stopped, "starting the job")
        for run in list(self._runs.values()):
            run.cancel(Stopped)

    def longest_cleanup(self) -> float:
        """Return the longest clean-up time in seconds of the running
        jobs."""
        runs = self._runs.values()
        return max((run.asked.cleanup_time for run in runs), default=0.0)

    @property
    def is_idle(self) -> bool:
        """Whether no action runs, not even one whose job was answered."""
        return not (self._tasks or self.cloud.calls.tasks)

    async def close(self) -> None:
        """Cancel all jobs, let them clean up, and close the driver if the
        manager created it.

        An action that does not end in its clean-up time is abandoned.
        """
        self.stop()
        self._refuse = Closed
        if self._tasks:
            # A run answers half a second after its clean-up time.
            seconds = self.longest_cleanup() + 1.0
            await asyncio.wait(self._tasks, timeout=seconds)
        # In this order: clean-ups still call the cloud.
        await self.cloud.calls.settle()
        self.cloud.close()
        if self._owns_driver:
            seconds = self.cloud.calls.pace.close
            await run_on_thread(partial(close_driver, self.driver, seconds))

    def _end(self, run: JobRun, outcome: Outcome) -> None:
        # After a cancel, a new run may have its key.
        if self._runs.get(run.key) is run:
            del self._runs[run.key]
        ended = EndedJob(
            run.job,
            "" if run.asked.action is None else run.asked.name.upper(),
            run.asked.name,
            run.trace.request_id,
            run.asked.fields,
            outcome,
            asyncio.get_running_loop().time() - run.started,
        )
        _log_ended(ended)
        tell(self.observer.job_ended, ended)


def added_by(outcome: Outcome) -> Mapping[str, Any]:
    """Return the fields that the action added to the answer.

    :raises PoolmgrError: in place of a FAIL
    """
    if outcome.error is not None:
        raise outcome.error
    return outcome.added


def _log_ended(ended: EndedJob) -> None:
    """Log the one line of a job."""
    job, outcome = ended.job, ended.outcome
    if outcome.error is not None:
        level, more = logging.WARNING, f" reason={one_line(outcome.reason)}"
    else:
        # A client's value with a blank could look like two fields.
        level, about = logging.INFO, ended.about.items()
        more = "".join(f" {k}={v}" for k, v in about if " " not in v)
    _JOB_LOG.log(
        level,
        "action=%s unique=%s handle=%s server=%s outcome=%s duration=%.3fs "
        "request=%s%s",
        one_line(ended.requested_action),
        one_line(job.unique) or "-",
        one_line(job.handle) or "-",
        job.server or "-",
        outcome.answer["response"],
        ended.seconds,
        ended.request_id,
        more,
        extra={"poolmgr_job": ended},
    )
