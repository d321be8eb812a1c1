"""The one place where a message becomes an answer."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from poolmgr.actions import base as actions
from poolmgr.actions.base import Action, parse
from poolmgr.cloud.capacity import Capacity
from poolmgr.cloud.checked import Checked, checked, make_driver
from poolmgr.drivers import base as drivers
from poolmgr.drivers.base import Driver
from poolmgr.errors import (
    Closed,
    Forked,
    PluginError,
    PluginNotFound,
    PoolmgrError,
    Stopped,
    UnknownAction,
    is_interrupt,
)
from poolmgr.events import Guarded, Observer
from poolmgr.jobs import message as wire
from poolmgr.jobs.message import Message
from poolmgr.jobs.outcome import EndedJob, RunningJob, failed, shown
from poolmgr.jobs.run import (
    AFTERWARDS_TIME,
    Execution,
    Progress,
    Submission,
    known,
    log,
    time_limit,
)
from poolmgr.ownership import Job
from poolmgr.plugins import ACTIONS, DRIVERS, Registry
from poolmgr.settings import PoolSettings
from poolmgr.threads import ThreadPool
from poolmgr.tracing import Trail
from poolmgr.waiting import Expiries


def action_plugins(
    given: Mapping[str, type[Action[Any]]] | None = None,
) -> Registry[Action[Any]]:
    """The actions that are installed, and those given."""
    return Registry("action", ACTIONS, Action, actions.defect, given)  # type: ignore[type-abstract]


def driver_plugins() -> Registry[Driver]:
    """The drivers that are installed."""
    return Registry("driver", DRIVERS, Driver, drivers.defect)  # type: ignore[type-abstract]


def longest_job(
    actions: Registry[Action[Any]], settings: PoolSettings
) -> float:
    """Seconds that a job may take, whatever its action, clearing up included.

    Actions that cannot be loaded take none.
    """
    longest = 0.0
    for name in actions.names():
        with contextlib.suppress(PluginError, ValueError):
            longest = max(longest, time_limit(actions.load(name), settings))
    return longest


class PoolManager:
    """Runs actions on a cloud.

    It starts no thread before the first job, configures no logging, and can
    be used from many threads at once; ``with`` closes it.  After a fork the
    child has to make its own, with a driver of its own: this one's threads and
    connections are the parent's.

    :param driver: the cloud, or the name of an installed driver, which is
        then made with its default settings and closed with the manager
    :param settings: the pool's settings
    :param actions: action classes by name, used besides the installed ones
    :param observer: told of every job that ends and, by drivers that do so,
        of every call of the cloud
    :ivar observer: the same, made safe: what it raises is logged
    :ivar delivered_before: whether a job server has lost a worker with a job;
        set by who can ask it
    :raises PluginError: the driver named cannot be used
    :raises Forked: the driver was made before this process was forked
    """

    def __init__(
        self,
        driver: Driver | str,
        settings: PoolSettings | None = None,
        actions: Mapping[str, type[Action[Any]]] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.settings = settings or PoolSettings()
        self.observer = Guarded(observer) if observer else Observer()
        self.actions = action_plugins(actions)
        self._owns_driver = isinstance(driver, str)
        self.driver = _driver(driver)
        self._process = os.getpid()
        if observer is not None:
            self.driver.observe(self.observer)
        self.capacity = Capacity()
        self.delivered_before: Callable[[Job], bool] = lambda job: False
        self._threads = ThreadPool("poolmgr-job")
        self._expiries = Expiries("poolmgr-deadlines")
        self._lock = threading.Lock()
        self._none_runs = threading.Condition(self._lock)
        # By unique; more than one only if a client has confused its jobs.
        self._running: dict[str, list[Execution]] = {}
        self._executions: set[Execution] = set()
        self._afterwards = 0
        self._stopped = False
        self._closed = False

    def __enter__(self) -> "PoolManager":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def run(self, message: object, job: Job | None = None) -> Message:
        """Answer a message.

        :param message: its payload as bytes, its text, or a mapping
        :param job: the delivery; a new one when None
        :returns: the answer; whatever happens there is exactly one, and it
            has ``"response"``
        :raises Forked: the manager was made before this process was forked
        """
        return self.submit(message, job).future.result().answer

    def execute(self, action: str, **fields: object) -> Mapping[str, Any]:
        """Run an action, for callers who prefer exceptions.

        :param action: its name, as ``"BUILD_DEVICE"``
        :param fields: the request's fields
        :returns: the fields that the action adds to an answer
        :raises PoolmgrError: in place of a FAIL
        """
        outcome = self.submit({"action": action, **fields}).future.result()
        if outcome.error is not None:
            raise outcome.error
        return outcome.added

    def submit(
        self,
        message: object,
        job: Job | None = None,
        progress: Progress | None = None,
    ) -> Submission:
        """Start a job and do not wait for it.

        A delivery of a job that runs here already joins it.

        :param message: as of :meth:`run`
        :param job: as of :meth:`run`
        :param progress: called as ``progress(done, total)``, on any thread
        :raises Forked: the manager was made before this process was forked
        """
        self._check_process()
        job = job or Job.by_hand()
        started = time.monotonic()
        fields: Message = {}
        action = None
        answers: tuple[str, ...] = ()
        try:
            fields = wire.decode(message)
            action = self._action(fields)
            answers = tuple(action.answers)
            request = parse(action, fields)
            execution = Execution(self, action, request, fields, job)
        except BaseException as error:
            if is_interrupt(error):
                raise
            reason = _bare(known(error, "reading the message"))
            outcome = failed(self.settings, fields, answers, reason)
            trail = Trail(shown(fields.get("action")), job)
            self.observe(EndedJob.now(trail, action, fields, outcome, started))
            return Submission.finished(outcome)
        return self._start(execution, progress)

    def is_long(self, message: object) -> bool:
        """Whether a message asks for a long action; False when for none."""
        try:
            return self._action(wire.decode(message)).long is True
        except Exception:
            return False

    def running(self) -> list[RunningJob]:
        """The jobs that run now, the oldest first.

        :raises Forked: the manager was made before this process was forked
        """
        self._check_process()
        with self._lock:
            executions = list(self._executions)
        found = [execution.running() for execution in executions]
        return sorted(found, key=lambda job: -job.seconds)

    @property
    def stuck(self) -> bool:
        """Whether a build that is started now would only wait."""
        return self.capacity.scarce or self.driver.is_down

    def adopt(self, settings: PoolSettings) -> None:
        """Use other settings for the jobs that come from now on.

        Those that run keep what they began with.
        """
        self.settings = settings

    def stop(self) -> None:
        """Have every job end soon: it clears up and its answer is a FAIL."""
        self._check_process()
        with self._lock:
            self._stopped = True
            executions = list(self._executions)
        for execution in executions:
            execution.stop.set()

    def longest_cleanup(self) -> float:
        """Seconds that the jobs running now may take once stopped."""
        with self._lock:
            executions = list(self._executions)
        return max((e.cleanup_time for e in executions), default=0.0)

    def close(self) -> None:
        """Stop, let the jobs clear up, and let go of the driver if it was
        made here.

        A job that does not end in the time it has for clearing up is left.
        In the child of a fork this does nothing: all of it is the parent's.
        """
        if self._process != os.getpid():
            return
        self._closed = True
        self.stop()
        patience = self.longest_cleanup() + 1.0
        with self._none_runs:
            if self._afterwards:
                patience = max(patience, AFTERWARDS_TIME)
            self._none_runs.wait_for(
                lambda: not (self._executions or self._afterwards), patience
            )
        if self._owns_driver:
            self.driver.close()

    # -- for executions -----------------------------------------------------

    def start(self, work: Callable[[], None]) -> None:
        """See :class:`~poolmgr.jobs.run.House`."""

        def tracked() -> None:
            try:
                work()
            finally:
                with self._none_runs:
                    self._afterwards -= 1
                    self._none_runs.notify_all()

        with self._lock:
            self._afterwards += 1
        self._threads.run(tracked)

    def ended(self, execution: Execution) -> None:
        """See :class:`~poolmgr.jobs.run.House`."""
        self._expiries.cancel(execution, execution.limit)
        with self._lock:
            self._executions.discard(execution)
            running = self._running.get(execution.job.unique, [])
            if execution in running:
                running.remove(execution)
                if not running:
                    del self._running[execution.job.unique]
            if not self._executions:
                self._none_runs.notify_all()

    def observe(self, ended: EndedJob) -> None:
        """See :class:`~poolmgr.jobs.run.House`."""
        log(ended)
        self.observer.job_ended(ended)

    # -- inside -------------------------------------------------------------

    def _action(self, fields: Message) -> type[Action[Any]]:
        name = fields.get("action")
        if not isinstance(name, str):
            raise UnknownAction(shown(name), self.actions.names())
        try:
            return self.actions.load(name)
        except PluginNotFound as error:
            raise UnknownAction(repr(name), error.known) from None

    def _check_process(self) -> None:
        # Before any lock: a thread of the parent may have held it.
        if self._process != os.getpid():
            raise Forked("PoolManager")

    def _start(
        self, execution: Execution, progress: Progress | None
    ) -> Submission:
        with self._lock:
            stopped = self._stopped
            for running in self._running.get(execution.job.unique, ()):
                if running.is_same(execution) and (
                    submission := running.join(execution.job, progress)
                ):
                    return submission
            if not stopped:
                self._executions.add(execution)
                if execution.job.unique:
                    self._running.setdefault(execution.job.unique, []).append(
                        execution
                    )
        submission = execution.join(execution.job, progress)
        assert submission is not None  # noqa: S101 - nobody has closed it
        if stopped:
            execution.fail(
                Closed() if self._closed else Stopped("starting the job")
            )
            return submission
        self._expiries.add(execution, execution.limit, execution.expire)
        self._threads.run(execution.run)
        return submission


def _bare(error: PoolmgrError) -> PoolmgrError:
    """The error without the frames that it came through: they hold the
    message, which may be long, until somebody collects garbage."""
    if error.__suppress_context__:
        error.__context__ = None
    return error.with_traceback(None)


def _driver(driver: Driver | str) -> Checked:
    if isinstance(driver, Driver):
        driver.require_own_process()
        return checked(driver)
    cls = driver_plugins().load(driver)
    return make_driver(cls)
