"""The pool manager for programs that block."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Self, TypeVar

from poolmgr.actions.base import Action
from poolmgr.cloud import BlockingCloud, Pace
from poolmgr.cloud.blocking import LoopThread, require_other_thread
from poolmgr.drivers.base import Driver
from poolmgr.errors import Closed, Forked
from poolmgr.events import Observer, Outcome, RunningJob
from poolmgr.jobs.manager import AsyncPoolManager, added_by
from poolmgr.jobs.message import Message
from poolmgr.jobs.request import JobRequest
from poolmgr.jobs.run import Delivery, Progress
from poolmgr.ownership import Job
from poolmgr.settings import PoolSettings

T = TypeVar("T")


class BlockingDelivery:
    """A delivery of a job, for any thread; ``submit()`` returns it.

    A program that passes the answer on, as a worker does, reports a lost
    answer with :meth:`connection_lost`, :meth:`undo` or :meth:`undelivered`.

    :param delivery: the delivery on the manager's loop
    :param manager: the manager
    """

    def __init__(self, delivery: Delivery, manager: "PoolManager") -> None:
        self._future: Future[Outcome] = Future()
        # A running future cannot be cancelled: every job gets its answer.
        self._future.set_running_or_notify_cancel()
        self._delivery = delivery
        self._manager = manager
        delivery.future.add_done_callback(
            lambda done: self._future.set_result(done.result())
        )

    @property
    def future(self) -> Future[Outcome]:
        """The outcome, never an exception.

        :raises Forked: in the child of a fork, which never gets it
        """
        self._manager.driver.require_own_process()
        return self._future

    def cancel(self) -> bool:
        """Cancel the job, or only this delivery if others wait for the job.

        :returns: False if there already is an outcome
        """
        return bool(self._call(self._delivery.cancel))

    def connection_lost(self) -> None:
        """Report that the answer cannot be delivered; the job continues."""
        self._call(self._delivery.connection_lost)

    def undo(self) -> None:
        """Report that the answer was refused; the job is undone, unless
        another delivery was answered."""
        self._call(self._delivery.undo)

    def undelivered(self, sent: bool) -> None:
        """Report that the connection broke before the answer was confirmed.

        :param sent: whether the answer was sent; it may have arrived
        """
        self._call(lambda: self._delivery.undelivered(sent))

    def _call(self, function: Callable[[], T]) -> T | None:
        with suppress(Closed):  # then the job is over
            return self._manager._call(function)
        return None


class PoolManager:
    """Runs actions on a cloud; its methods block.

    It starts no thread before it is first used, configures no logging, and can
    be used from many threads at once; ``with`` closes it.  After a fork the
    child needs a manager and a driver of its own.

    :param driver: a driver, or the name of an installed one, which is then
        created with its default settings and closed with the manager
    :param settings: the pool's settings
    :param actions: action classes by name, besides the installed ones
    :param observer: told of every job that ends, and of every call of the
        cloud
    :param pace: how long to wait for the cloud
    :ivar driver: the cloud's driver
    :raises PluginError: the driver named cannot be used
    :raises Forked: the driver was created before this process was forked
    """

    def __init__(
        self,
        driver: Driver | str,
        settings: PoolSettings | None = None,
        actions: Mapping[str, type[Action[Any]]] | None = None,
        observer: Observer | None = None,
        pace: Pace = Pace(),  # noqa: B008 - it is frozen
    ) -> None:
        self._manager = AsyncPoolManager(
            driver, settings, actions, observer, pace
        )
        self.driver = self._manager.driver
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None
        self._closing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def settings(self) -> PoolSettings:
        """The pool's settings."""
        return self._manager.settings

    @property
    def cloud(self) -> BlockingCloud:
        """The cloud, for operations that no action offers.

        :raises Closed: the manager is closed
        :raises Forked: the manager was created before this process was forked
        """
        loop = self._call(asyncio.get_running_loop)
        return BlockingCloud(self._manager.cloud, loop)

    def run(self, message: object, job: Job | None = None) -> Message:
        """Answer a message.

        :param message: its payload as bytes, its text, or a mapping
        :param job: the delivery; a new one when None
        :returns: the answer, always with ``"response"``
        :raises Forked: the manager was created before this process was forked
        """
        try:
            return self._outcome(message, job).answer
        # A message has an answer in any case.
        except Closed as closed:
            actions, settings = self._manager.actions, self.settings
            asked = JobRequest.parse(message, actions, settings)
            return asked.fail(asked.error or closed).answer

    def execute(self, action: str, **fields: object) -> Mapping[str, Any]:
        """Run an action and return its fields; raise the error of a FAIL.

        :param action: its name, such as ``"BUILD_DEVICE"``
        :param fields: the request's fields
        :returns: the fields that the action adds to an answer
        :raises PoolmgrError: the job failed
        """
        return added_by(self._outcome({"action": action, **fields}))

    def submit(
        self,
        message: object,
        job: Job | None = None,
        progress: Progress | None = None,
    ) -> BlockingDelivery:
        """Start a job without waiting for it.

        A message with the same content and unique as a running job joins it.

        :param message: as of :meth:`run`
        :param job: as of :meth:`run`
        :param progress: called as ``progress(done, total)`` on a thread of the
            manager
        :returns: the delivery; its future has the outcome
        :raises Closed: the manager is closed
        :raises Forked: the manager was created before this process was forked
        """
        return self._call(
            lambda: BlockingDelivery(
                self._manager.submit(message, job, progress), self
            )
        )

    def is_long(self, message: object) -> bool:
        """Return whether a message asks for a long action."""
        return self._manager.is_long(message)

    def running(self) -> list[RunningJob]:
        """Return the jobs that run now, the oldest first.

        :raises Forked: the manager was created before this process was forked
        """
        return self._call(self._manager.running)

    def adopt(self, settings: PoolSettings) -> None:
        """Use other settings for new jobs; running jobs keep theirs."""
        self._manager.adopt(settings)

    def stop(self) -> None:
        """Cancel all jobs: they clean up and fail.

        :raises Forked: the manager was created before this process was forked
        """
        self._call(self._manager.stop)

    def close(self) -> None:
        """Cancel all jobs, let them clean up, and close the driver if the
        manager created it.

        A job that does not end in its clean-up time is abandoned.  In the
        child of a fork this does nothing.
        """
        try:
            self.driver.require_own_process()
        except Forked:
            return
        require_other_thread()
        with self._lock:
            thread = self._start()
            if self._closing is None:
                self._closing = thread.submit(self._manager.close())
        # Without the lock, so that other threads' calls raise Closed at once.
        self._closing.result()
        # An action that does not end keeps the loop, in the background.
        if self._manager.is_idle:
            thread.close(self._manager.cloud.calls.pace.close)

    def _outcome(self, message: object, job: Job | None = None) -> Outcome:
        """Run a job and wait for its outcome."""
        require_other_thread()
        return self.submit(message, job).future.result()

    def _call(self, function: Callable[[], T]) -> T:
        """Call a function on the manager's loop.

        :raises Closed: the manager is closed
        :raises Forked: the manager was created before this process was forked
        """
        # Before the lock: a thread of the parent may have held it.
        self.driver.require_own_process()
        # A callback on the loop would wait for itself.
        if threading.current_thread() is self._thread:
            return function()

        async def call() -> T:
            return function()

        # With the lock, so that close() does not stop the loop before.
        with self._lock:
            if self._closing is not None:
                raise Closed
            called = self._start().submit(call())
        return called.result()

    def _start(self) -> LoopThread:
        """Start the loop's thread unless it runs; call this with the lock."""
        if self._thread is None:
            self._thread = LoopThread()
        return self._thread
