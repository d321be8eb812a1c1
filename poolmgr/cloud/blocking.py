"""The cloud for code that blocks: plain actions, commands, tests."""

import asyncio
import copy
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from poolmgr.cloud.cloud import Cloud
from poolmgr.cloud.pace import Pace, time_limit
from poolmgr.drivers.base import Driver
from poolmgr.drivers.verbs import close_driver
from poolmgr.errors import Closed, DeadlineExceeded, PoolmgrError
from poolmgr.events import Observer
from poolmgr.ownership import Ownership
from poolmgr.tracing import RequestContext, bound, current

T = TypeVar("T")
P = ParamSpec("P")


def _blocking(
    method: Callable[Concatenate[Cloud, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["BlockingCloud", P], T]:
    """Return a blocking version of a coroutine method of the cloud."""

    @wraps(method)
    def call(self: "BlockingCloud", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.wait(method(self.cloud, *args, **kwargs))

    return call


def require_other_thread() -> None:
    """Raise on the thread of a loop, which would wait for itself for ever.

    :raises PoolmgrError: this is a :class:`LoopThread`
    """
    if isinstance(threading.current_thread(), LoopThread):
        raise PoolmgrError("cannot wait on the event loop: start a thread")


class BlockingCloud:
    """A cloud with the methods of :class:`~poolmgr.cloud.Cloud`, which block.

    Call them on any thread except the loop's own.

    :param cloud: the cloud
    :param loop: the loop that runs it, on another thread
    :param timeout: time limit for each call in seconds; None: no limit
    :ivar cloud: the cloud
    :ivar loop: the loop
    :ivar driver: the cloud's driver
    """

    def __init__(
        self,
        cloud: Cloud,
        loop: asyncio.AbstractEventLoop,
        timeout: float | None = None,
    ) -> None:
        self.cloud, self.loop, self._timeout = cloud, loop, timeout
        self.driver = cloud.driver
        # Shared with what within() returns: both are of one action.
        self._running: set[asyncio.Task[Any]] = set()
        self._interruptions: list[PoolmgrError] = []

    def within(self, seconds: float) -> "BlockingCloud":
        """Return the same cloud with another timeout.

        :param seconds: time limit for each call
        """
        other = copy.copy(self)
        other._timeout = seconds
        return other

    def interrupt(self, error: PoolmgrError) -> None:
        """Let the current or next call raise an error.

        Later calls work again, so that their caller can clean up.  This is
        called on the loop.
        """
        self._interruptions.append(error)
        for task in self._running:
            task.cancel()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return what it returns.

        :raises DeadlineExceeded: it took longer than the timeout
        :raises PoolmgrError: the error of the coroutine, or the last one that
            was retried before the timeout
        :raises PoolmgrError: called by a callback on the loop
        :raises Closed: the cloud is closed
        :raises Forked: the driver was created before a fork
        """
        try:
            self.driver.require_own_process()
            require_other_thread()
            if self.cloud.calls.closed:
                raise Closed
            # The coroutine runs in this thread's context.
            run = self._run(work)
            return asyncio.run_coroutine_threadsafe(run, self.loop).result()
        except CancelledError:  # the loop ends
            raise Closed from None
        except PoolmgrError:
            work.close()  # or Python warns that it never ran
            raise

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        task: Any = asyncio.current_task()
        self._running.add(task)
        # Interrupted between two calls: then this one raises.
        if self._interruptions:
            task.cancel()
        context = current() or RequestContext()
        try:
            with bound(context):
                async with time_limit(context, self._timeout):
                    return await work
        except asyncio.CancelledError:
            if not self._interruptions:
                raise
            raise self._interruptions.pop() from context.trouble
        finally:
            self._running.discard(task)

    # -- the cloud ----------------------------------------------------------

    @property
    def image(self) -> str:
        """See :attr:`Cloud.image <poolmgr.cloud.Cloud.image>`."""
        return self.cloud.image

    check = _blocking(Cloud.check)
    accepts = _blocking(Cloud.accepts)
    call_driver = _blocking(Cloud.call_driver)

    create_device = _blocking(Cloud.create_device)
    wait_ready = _blocking(Cloud.wait_ready)
    delete_device = _blocking(Cloud.delete_device)
    list_devices = _blocking(Cloud.list_devices)
    find_devices = _blocking(Cloud.find_devices)
    devices_of_job = _blocking(Cloud.devices_of_job)
    get_device = _blocking(Cloud.get_device)
    mark_device = _blocking(Cloud.mark_device)
    our_device = _blocking(Cloud.our_device)

    create_ip = _blocking(Cloud.create_ip)
    list_ips = _blocking(Cloud.list_ips)
    find_ip = _blocking(Cloud.find_ip)
    get_ip = _blocking(Cloud.get_ip)
    ips_of_job = _blocking(Cloud.ips_of_job)
    our_ip = _blocking(Cloud.our_ip)
    device_of_ip = _blocking(Cloud.device_of_ip)
    mark_ip = _blocking(Cloud.mark_ip)
    attach_ip = _blocking(Cloud.attach_ip)
    detach_ip = _blocking(Cloud.detach_ip)
    delete_ip = _blocking(Cloud.delete_ip)


class LoopThread(threading.Thread):
    """A thread that runs an event loop until it is closed.

    :ivar loop: the loop
    """

    def __init__(self) -> None:
        super().__init__(name="poolmgr-loop", daemon=True)
        # It belongs to the loop that first waits for it.
        self._end = asyncio.Event()
        self._running: Future[asyncio.AbstractEventLoop] = Future()
        self.start()
        self.loop = self._running.result()

    def run(self) -> None:
        """See :meth:`threading.Thread.run`."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._running.set_result(asyncio.get_running_loop())
        await self._end.wait()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self, timeout: float) -> None:
        """Cancel what still runs on the loop, and end the thread.

        :param timeout: seconds until a task that does not end is abandoned
        """
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._end.set)
        self.join(timeout)


@contextmanager
def open_cloud(
    driver: Driver,
    *,
    ownership: Callable[[], Ownership] | None = None,
    observer: Observer | None = None,
    pace: Pace = Pace(),  # noqa: B008 - it is frozen
    timeout: float | None = None,
) -> Iterator[BlockingCloud]:
    """Use a cloud in a program without a loop; the end closes the driver.

    :param driver: the cloud's driver
    :param ownership: returns what this pool may touch; None: everything
    :param observer: told of each request to the cloud
    :param pace: how long to wait
    :param timeout: time limit for each call in seconds; None: no limit
    """
    cloud = Cloud(driver, ownership=ownership, observer=observer, pace=pace)
    thread = LoopThread()
    blocking = BlockingCloud(cloud, thread.loop, timeout)
    try:
        yield blocking
    finally:
        # In this order: clean-ups need the loop, and calls need the driver.
        with suppress(DeadlineExceeded):
            blocking.within(pace.clean_up).wait(cloud.calls.settle())
        thread.close(pace.close)
        cloud.close()
        close_driver(driver, pace.close)
