"""The one place where a message becomes an answer."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from poolmgr.actions.base import Action
from poolmgr.cloud import Cloud
from poolmgr.errors import (
    Closed,
    Forked,
    PoolmgrError,
    Stopped,
)
from poolmgr.events import EndedJob, Observer, Outcome, RunningJob, tell
from poolmgr.jobs import message as wire
from poolmgr.jobs.afterwards import AFTERWARDS_TIME
from poolmgr.jobs.delivery import Delivery, Progress
from poolmgr.jobs.log import log_ended
from poolmgr.jobs.message import Message
from poolmgr.jobs.outcome import failed
from poolmgr.jobs.registries import action_plugins as action_plugins
from poolmgr.jobs.registries import driver_plugins as driver_plugins
from poolmgr.jobs.registries import longest_job as longest_job
from poolmgr.jobs.request import JobRequest, ended_job, read_message
from poolmgr.jobs.run import JobRun, Reason
from poolmgr.ownership import Job
from poolmgr.settings import PoolSettings
from poolmgr.tracing import RequestContext, bound

#: Seconds that actions whose jobs were answered may take to end.
_CANCEL_TIME = 1.0


class JobManager:
    """Runs actions on a cloud, on an event loop.

    Everything is called on that loop, except ``read`` and ``is_long``, which
    any thread may call.  ``async with`` closes it.

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
        self.ask_delivered_before: Callable[[Job], Awaitable[bool]] | None
        self.ask_delivered_before = None
        self._process = os.getpid()
        self._runs: dict[JobRun, None] = {}
        # By unique; more than one only if a client has confused its jobs.
        self._by_unique: dict[str, list[JobRun]] = {}
        # Those that undo answers; and those of actions, which may never end.
        self._afterwards: set[asyncio.Task[None]] = set()
        self._left: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = False
        self._closed = False

    async def __aenter__(self) -> "JobManager":
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
        return self.begin(self.read(message), job, progress)

    def read(self, message: object) -> JobRequest:
        """Read a message; what is wrong with it is in the result."""
        return read_message(message, self.actions, self.settings)

    def begin(
        self, asked: JobRequest, job: Job | None, progress: Progress | None
    ) -> Delivery:
        """Start a job whose message was read, or join it.

        :raises Forked: the manager was made before this process was forked
        """
        if self._process != os.getpid():
            raise Forked("PoolManager")
        job = job or Job.by_hand()
        error = asked.error
        if error is None:
            for run in self._by_unique.get(job.unique, ()):
                if run.asked.is_same(asked) and (
                    delivery := run.join(job, progress)
                ):
                    return delivery
            if self._stopped:
                error = (
                    Closed() if self._closed else Stopped("starting the job")
                )
        if error is not None:
            delivery = Delivery()
            delivery.answer(self.refuse(asked, job, error))
            return delivery
        return self._start(asked, job, progress)

    def refuse(
        self, asked: JobRequest, job: Job, error: PoolmgrError
    ) -> Outcome:
        """Make and tell the outcome of a job that is not begun."""
        explain = self.settings.explain_failures
        outcome = failed(error, asked.fields, asked.answers, explain)
        with bound(RequestContext(asked.name, job)) as context:
            self._tell(ended_job(asked, context, outcome, 0.0))
        return outcome

    def _start(
        self, asked: JobRequest, job: Job, progress: Progress | None
    ) -> Delivery:
        run = JobRun(self, asked, job)
        delivery = run.join(job, progress)
        assert delivery is not None  # noqa: S101 - nobody has closed it
        self._runs[run] = None
        if job.unique:
            self._by_unique.setdefault(job.unique, []).append(run)
        self._idle.clear()
        task = run.start()
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        return delivery

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
        return self.cloud.capacity.exhausted or self.cloud.is_down

    def adopt(self, settings: PoolSettings) -> None:
        """Use other settings for the jobs that come from now on.

        Those that run keep what they began with.
        """
        self.settings = settings

    def stop(self, reason: Reason = "stop") -> None:
        """Have every job end soon: it clears up and its answer is a FAIL."""
        self._stopped = True
        for run in list(self._runs):
            run.cancel(reason)

    def longest_cleanup(self) -> float:
        """Seconds that the jobs running now may take once stopped."""
        return max((r.asked.cleanup_time for r in self._runs), default=0.0)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, not even an action whose job was answered."""
        return not (self._left or self._afterwards)

    async def close(self) -> None:
        """Stop, and let the jobs clear up.

        A job that does not end in the time it has for clearing up is left.
        """
        self._closed = True
        self.stop()
        seconds = self.longest_cleanup() + 1.0
        if self._afterwards:
            seconds = max(seconds, AFTERWARDS_TIME)
        try:
            async with asyncio.timeout(seconds) as limit:
                await self._idle.wait()
                await self.cloud.settled()
        except TimeoutError:
            if not limit.expired():
                raise
        for task in self._left:
            task.cancel()
        if self._left:
            await asyncio.wait(self._left, timeout=_CANCEL_TIME)

    # -- for runs -----------------------------------------------------------

    def start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """See :class:`~poolmgr.jobs.run.RunOwner`."""
        task = asyncio.get_running_loop().create_task(work)
        self._afterwards.add(task)
        self._idle.clear()
        task.add_done_callback(self._afterwards.discard)
        task.add_done_callback(self._look_if_idle)

    def run_ended(self, run: JobRun, ended: EndedJob) -> None:
        """See :class:`~poolmgr.jobs.run.RunOwner`."""
        self._runs.pop(run, None)
        same = self._by_unique.get(run.job.unique, [])
        if run in same:
            same.remove(run)
            if not same:
                del self._by_unique[run.job.unique]
        self._tell(ended)
        asyncio.get_running_loop().call_soon(self._look_if_idle)

    async def delivered_before(self, job: Job) -> bool:
        """See :class:`~poolmgr.jobs.run.RunOwner`."""
        ask = self.ask_delivered_before
        return ask is not None and await ask(job)

    def _look_if_idle(self, *_task: object) -> None:
        if not (self._runs or self._afterwards):
            self._idle.set()

    def _tell(self, ended: EndedJob) -> None:
        log_ended(ended)
        tell(self.observer.job_ended, ended)


def added_by(outcome: Outcome) -> Mapping[str, Any]:
    """Return the fields that the action has added to an answer.

    :raises PoolmgrError: in place of a FAIL
    """
    if outcome.error is not None:
        raise outcome.error
    return outcome.added
