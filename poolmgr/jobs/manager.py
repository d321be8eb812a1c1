"""The one place where a message becomes an answer."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Self

from poolmgr.actions.base import Action
from poolmgr.cloud import Cloud
from poolmgr.errors import Closed, Stopped
from poolmgr.events import EndedJob, Observer, Outcome, RunningJob, tell
from poolmgr.jobs import message as wire
from poolmgr.jobs.delivery import Delivery, Progress
from poolmgr.jobs.log import log_ended
from poolmgr.jobs.message import Message
from poolmgr.jobs.registries import action_plugins
from poolmgr.jobs.request import read_message
from poolmgr.jobs.run import FOLLOW_UP_TIME, JobRun
from poolmgr.ownership import Job
from poolmgr.settings import PoolSettings

#: Seconds that actions whose jobs were answered may take to end.
_CANCEL_TIME = 1.0


class JobManager:
    """Runs actions on a cloud, on an event loop.

    Everything is called on that loop, except ``is_long``, which any thread
    may call.  ``async with`` closes it.

    :param cloud: the cloud
    :param settings: the pool's settings
    :param actions: action classes by name, used besides the installed ones
    :param observer: told of every job that ends; what it raises is logged
    :ivar ask_delivered_before: asks a job server whether a worker was lost
        with a job; set by who can ask it
    """

    def __init__(
        self,
        cloud: Cloud,
        settings: PoolSettings | None = None,
        actions: Mapping[str, type[Action[Any]]] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.cloud = cloud
        self.settings = settings or PoolSettings()
        self.observer = observer or Observer()
        self.actions = action_plugins(actions)
        self.ask_delivered_before: Callable[[Job], Awaitable[bool]]
        self.ask_delivered_before = _nobody_knows
        # Those that have no answer yet.
        self._runs: dict[JobRun, None] = {}
        # By unique and content: a client may confuse its uniques.
        self._same: dict[tuple[str, str], JobRun] = {}
        # Of actions, which may never end; and those that undo answers.
        self._actions: set[asyncio.Task[None]] = set()
        self._follow_ups: set[asyncio.Task[None]] = set()
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
        asked = read_message(message, self.actions, self.settings)
        job = job or Job.by_hand()
        key = job.unique, asked.content
        run = self._same.get(key) if job.unique else None
        if run is None or run.closed:
            run = JobRun(self, asked, job)
            error = asked.error
            if error is None and self._closed:
                error = Closed()
            elif error is None and self._stopped:
                error = Stopped("starting the job")
            if error is not None:
                run.refuse(error)
            else:
                self._runs[run] = None
                self._same[key] = run
                _keep(run.start(), self._actions)
        return run.join(job, progress)

    def is_long(self, message: object) -> bool:
        """Whether a message asks for a long action; False when for none."""
        try:
            name = wire.decode(message)["action"]
            return self.actions.load(name).long is True  # type: ignore[arg-type]
        except Exception:
            return False

    def running(self) -> list[RunningJob]:
        """The jobs that run now, the oldest first."""
        # Copied in one step: other threads may call this, too.
        found = [run.state() for run in list(self._runs)]
        return sorted(found, key=lambda job: -job.seconds)

    @property
    def stuck(self) -> bool:
        """Whether a build that is started now would only wait."""
        return self.cloud.circuits.stuck

    def adopt(self, settings: PoolSettings) -> None:
        """Use other settings for the jobs that come from now on.

        Those that run keep what they began with.
        """
        self.settings = settings

    def stop(self) -> None:
        """Have every job end soon: it clears up and its answer is a FAIL."""
        self._stopped = True
        for run in list(self._runs):
            run.cancel(Stopped)

    def longest_cleanup(self) -> float:
        """Seconds that the jobs running now may take once stopped."""
        return max((r.asked.cleanup_time for r in self._runs), default=0.0)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, not even an action whose job was answered."""
        return not (self._actions or self._follow_ups)

    async def close(self) -> None:
        """Stop, and let the jobs clear up.

        A job that does not end in the time it has for clearing up is left.
        """
        self._closed = True
        self.stop()
        seconds = self.longest_cleanup() + 1.0
        if self._follow_ups:
            seconds = max(seconds, FOLLOW_UP_TIME)
        try:
            async with asyncio.timeout(seconds) as limit:
                # What ends may have to be undone.
                while tasks := self._actions | self._follow_ups:
                    await asyncio.wait(tasks)
                await self.cloud.settled()
        except TimeoutError:
            if not limit.expired():
                raise
        for task in self._actions:
            task.cancel()
        if self._actions:
            await asyncio.wait(self._actions, timeout=_CANCEL_TIME)

    # -- for runs -----------------------------------------------------------

    def start_follow_up(self, work: Coroutine[Any, Any, None]) -> None:
        """See :class:`~poolmgr.jobs.run.RunOwner`."""
        _keep(asyncio.get_running_loop().create_task(work), self._follow_ups)

    def run_ended(self, run: JobRun, ended: EndedJob) -> None:
        """See :class:`~poolmgr.jobs.run.RunOwner`."""
        self._runs.pop(run, None)
        key = run.job.unique, run.asked.content
        if self._same.get(key) is run:
            del self._same[key]
        log_ended(ended)
        tell(self.observer.job_ended, ended)


async def _nobody_knows(job: Job) -> bool:
    return False


def _keep(task: asyncio.Task[None], among: set[asyncio.Task[None]]) -> None:
    """Keep a task while it runs."""
    among.add(task)
    task.add_done_callback(among.discard)


def added_by(outcome: Outcome) -> Mapping[str, Any]:
    """Return the fields that the action has added to an answer.

    :raises PoolmgrError: in place of a FAIL
    """
    if outcome.error is not None:
        raise outcome.error
    return outcome.added
