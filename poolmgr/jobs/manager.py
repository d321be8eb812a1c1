"""The one place where a message becomes an answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from poolmgr.actions.base import Action, action_plugins
from poolmgr.cloud import Cloud, Pace
from poolmgr.drivers.base import Driver
from poolmgr.drivers.verbs import driver_plugins, make_driver
from poolmgr.errors import Closed, Stopped
from poolmgr.events import EndedJob, Observer, Outcome, RunningJob, tell
from poolmgr.jobs import message as wire
from poolmgr.jobs.delivery import Delivery, Progress
from poolmgr.jobs.log import log_ended
from poolmgr.jobs.message import Message
from poolmgr.jobs.request import JobRequest
from poolmgr.jobs.run import FOLLOW_UP_TIME, JobRun, keep
from poolmgr.ownership import Job
from poolmgr.settings import PoolSettings


class AsyncPoolManager:
    """Runs actions on a cloud; for programs that have an event loop.

    It is used on one loop; only ``is_long`` and ``running`` may be called by
    any thread.  ``async with`` closes it.

    :param driver: the cloud's driver; or the name of an installed one, which
        is made with its default settings and closed with the manager; or a
        :class:`~poolmgr.cloud.Cloud`
    :param settings: the pool's settings
    :param actions: action classes by name, used besides the installed ones
    :param observer: told of every job that ends, and of every call of the
        cloud; what it raises is logged
    :param pace: the times of waiting for the cloud
    :ivar driver: the cloud's driver
    :ivar cloud: the cloud, for what no action does
    :ivar ask_delivered_before: asks a job server whether a worker was lost
        with a job; set by who can ask it
    :ivar follow_ups: tasks that undo answers; they are waited for
    :raises PluginError: the driver named cannot be used
    :raises Forked: the driver was made before this process was forked
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
        if isinstance(driver, Cloud):  # one that was made specially
            self.cloud = driver
        else:
            driver.require_own_process()
            self.cloud = Cloud(
                driver,
                ownership=lambda: self.settings.ownership,
                observer=observer,
                pace=pace,
            )
        self.driver = self.cloud.driver
        self.actions = action_plugins(actions)
        self.ask_delivered_before: Callable[[Job], Awaitable[bool]] | None
        self.ask_delivered_before = None
        # Those that have no answer yet, by unique and content: a client may
        # confuse its uniques.
        self._runs: dict[tuple[str, str], JobRun] = {}
        # Of actions, which may never end; and those that undo answers.
        self._actions: set[asyncio.Task[Any]] = set()
        self.follow_ups: set[asyncio.Task[Any]] = set()
        self._stopped = False
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def run(self, message: object, job: Job | None = None) -> Message:
        """Answer a message.

        If the caller is cancelled, so is the job.

        :param message: its payload as bytes, its text, or a mapping
        :param job: the delivery; a new one when None
        :returns: the answer; whatever happens there is exactly one, and it
            has ``"response"``
        """
        return (await self.submit(message, job).future).answer

    async def execute(
        self, action: str, **fields: object
    ) -> Mapping[str, Any]:
        """Run an action, for callers who prefer exceptions.

        If the caller is cancelled, so is the job.

        :param action: its name, as ``"BUILD_DEVICE"``
        :param fields: the request's fields
        :returns: the fields that the action adds to an answer
        :raises PoolmgrError: in place of a FAIL
        """
        outcome = await self.submit({"action": action, **fields}).future
        return added_by(outcome)

    def submit(
        self,
        message: object,
        job: Job | None = None,
        progress: Progress | None = None,
    ) -> Delivery:
        """Start a job and do not wait for it.

        A delivery of a job that runs here already joins it.

        :param message: as of :meth:`run`
        :param job: as of :meth:`run`
        :param progress: called as ``progress(done, total)``
        """
        asked = JobRequest(message, self.actions, self.settings)
        job = job or Job.by_hand()
        run = self._runs.get((job.unique, asked.content))
        if run is None or run.closed:
            run = JobRun(self, asked, job)
            error = asked.error
            if error is None and self._closed:
                error = Closed()
            elif error is None and self._stopped:
                error = Stopped("starting the job")
            if error is None:
                self._runs[self._key(run)] = run
                keep(run.start(), self._actions)
            else:
                run.refuse(error)
        return run.join(job, progress)

    def is_long(self, message: object) -> bool:
        """Whether a message asks for a long action; False when for none."""
        try:
            name = wire.decode(message)["action"]
            return bool(self.actions.load(name).long)  # type: ignore[arg-type]
        except Exception:
            return False

    def running(self) -> list[RunningJob]:
        """The jobs that run now, the oldest first."""
        # Copied in one step: other threads may call this, too.
        found = [run.state() for run in list(self._runs.values())]
        return sorted(found, key=lambda job: -job.seconds)

    def adopt(self, settings: PoolSettings) -> None:
        """Use other settings for the jobs that come from now on.

        Those that run keep what they began with.
        """
        self.settings = settings

    def stop(self) -> None:
        """Have every job end soon: it clears up and its answer is a FAIL."""
        self._stopped = True
        for run in list(self._runs.values()):
            run.cancel(Stopped)

    def longest_cleanup(self) -> float:
        """Seconds that the jobs running now may take once stopped."""
        runs = self._runs.values()
        return max((run.asked.cleanup_time for run in runs), default=0.0)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, not even an action whose job was answered."""
        return not (self._actions or self.follow_ups)

    async def close(self) -> None:
        """Stop, let the jobs clear up, and close the driver if it was made
        here.

        A job that does not end in the time it has for clearing up is left.
        """
        self._closed = True
        self.stop()
        seconds = self.longest_cleanup() + 1.0
        if self.follow_ups:
            seconds = max(seconds, FOLLOW_UP_TIME)
        try:
            async with asyncio.timeout(seconds) as limit:
                # What ends may have to be undone.
                while tasks := self._actions | self.follow_ups:
                    await asyncio.wait(tasks)
                await self.cloud.calls.settle()
        except TimeoutError:
            if not limit.expired():
                raise
        self.cloud.close(keep_driver=not self._owns_driver)

    # -- for runs -----------------------------------------------------------

    def run_ended(self, run: JobRun, ended: EndedJob) -> None:
        """See :class:`~poolmgr.jobs.run.RunOwner`."""
        if self._runs.get(self._key(run)) is run:
            del self._runs[self._key(run)]
        log_ended(ended)
        tell(self.observer.job_ended, ended)

    def _key(self, run: JobRun) -> tuple[str, str]:
        # A job without a unique is nobody else's.
        return run.job.unique or run.trace.request_id, run.asked.content


def added_by(outcome: Outcome) -> Mapping[str, Any]:
    """Return the fields that the action has added to an answer.

    :raises PoolmgrError: in place of a FAIL
    """
    if outcome.error is not None:
        raise outcome.error
    return outcome.added
