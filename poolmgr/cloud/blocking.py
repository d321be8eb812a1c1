"""The cloud for code that blocks: sync actions, commands, tests."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from poolmgr.cloud.cloud import Cloud, CloudState
from poolmgr.cloud.pace import Pace
from poolmgr.cloud.time_limit import time_limit
from poolmgr.drivers.base import Device, Driver, Finding, FloatingIP
from poolmgr.errors import PoolmgrError
from poolmgr.events import Observer
from poolmgr.ownership import Mark, Ownership
from poolmgr.tracing import RequestContext, bound, current

T = TypeVar("T")


class BlockingCloud:
    """The methods of :class:`~poolmgr.cloud.Cloud`, as blocking ones.

    Any thread may call them, but the loop's own.

    :param cloud: the cloud
    :param loop: the loop that runs it, on another thread
    :param timeout: seconds that each call may take; None for any number
    :ivar cloud: the cloud
    :ivar loop: the loop
    """

    def __init__(
        self,
        cloud: Cloud,
        loop: asyncio.AbstractEventLoop,
        timeout: float | None = None,
    ) -> None:
        self.cloud = cloud
        self.loop = loop
        self._timeout = timeout
        self._running: set[asyncio.Task[Any]] = set()
        self._interruption: PoolmgrError | None = None

    def within(self, seconds: float) -> "BlockingCloud":
        """Return the same cloud with another time-out.

        :param seconds: that each call may take
        """
        return BlockingCloud(self.cloud, self.loop, seconds)

    def interrupt(self, error: PoolmgrError) -> None:
        """Have the call that is under way, else the next, raise an error.

        It is raised once: calls after that work, to clean up.  To be called
        on the loop.
        """
        self._interruption = error
        for task in self._running:
            task.cancel()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return what it returns.

        :raises DeadlineExceeded: it took too long
        :raises PoolmgrError: what it raised, or the last failure of what it
            was repeating when it had taken too long
        :raises Forked: the process was forked since the driver was made
        """
        try:
            self.cloud.driver.require_own_process()
        except PoolmgrError:
            work.close()
            raise
        # It takes over this thread's context.
        return asyncio.run_coroutine_threadsafe(
            self._run(work), self.loop
        ).result()

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._running.add(task)
        if self._interruption is not None:
            task.cancel()
        context = current() or RequestContext()
        seconds = self._timeout
        limit = (
            nullcontext() if seconds is None else time_limit(context, seconds)
        )
        try:
            with bound(context):
                async with limit:
                    return await work
        except asyncio.CancelledError:
            if self._interruption is None:
                raise
            interruption, self._interruption = self._interruption, None
            raise interruption from context.trouble
        finally:
            self._running.discard(task)
            work.close()

    # -- the cloud ----------------------------------------------------------

    @property
    def driver(self) -> Driver:
        """The cloud's driver."""
        return self.cloud.driver

    @property
    def image(self) -> str:
        """See :attr:`Cloud.image <poolmgr.cloud.Cloud.image>`."""
        return self.cloud.image

    @property
    def state(self) -> CloudState:
        """See :attr:`Cloud.state <poolmgr.cloud.Cloud.state>`."""
        return self.cloud.state

    def check(self, timeout: float = 60.0) -> Sequence[Finding]:
        """Check the driver's settings against the cloud."""
        return self.wait(self.cloud.check(timeout))

    def accepts(self, address: str, port: int) -> bool:
        """Tell whether a TCP connection to an address can be made now."""
        return self.wait(self.cloud.accepts(address, port))

    def call_driver(self, method: str, *args: object) -> Any:
        """Call a method of the driver that other drivers do not have."""
        return self.wait(self.cloud.call_driver(method, *args))

    def create_device(
        self, name: str, mark: Mark, max_wait: float = 0.0
    ) -> Device:
        """Ask for a device, marked from birth; do not wait for its boot."""
        return self.wait(self.cloud.create_device(name, mark, max_wait))

    def wait_ready(self, device: Device) -> Device:
        """Wait until a device is ready."""
        return self.wait(self.cloud.wait_ready(device))

    def delete_device(self, device: Device) -> None:
        """Delete a device and wait until it is gone."""
        self.wait(self.cloud.delete_device(device))

    def list_devices(self) -> Sequence[Device]:
        """List all devices, other people's too."""
        return self.wait(self.cloud.list_devices())

    def find_devices(self, name: str) -> Sequence[Device]:
        """List the devices of exactly this name."""
        return self.wait(self.cloud.find_devices(name))

    def devices_of_job(self, unique: str) -> Sequence[Device]:
        """List the devices whose mark has this unique."""
        return self.wait(self.cloud.devices_of_job(unique))

    def get_device(self, id: str) -> Device | None:
        """Return the device of this id, None if there is none."""
        return self.wait(self.cloud.get_device(id))

    def mark_device(self, device: Device, mark: Mark) -> None:
        """Write another mark on a device that is active."""
        self.wait(self.cloud.mark_device(device, mark))

    def our_device(self, name: str) -> Device:
        """Return the one device of exactly this name, which has to be ours."""
        return self.wait(self.cloud.our_device(name))

    def create_ip(self, mark: Mark, max_wait: float = 0.0) -> FloatingIP:
        """Allocate a floating IP, marked from birth."""
        return self.wait(self.cloud.create_ip(mark, max_wait))

    def list_ips(self) -> Sequence[FloatingIP]:
        """List all floating IPs, other people's too."""
        return self.wait(self.cloud.list_ips())

    def find_ip(self, address: str) -> FloatingIP | None:
        """Return the floating IP of exactly this address, None if none."""
        return self.wait(self.cloud.find_ip(address))

    def get_ip(self, address: str) -> FloatingIP:
        """Return the floating IP of this address, whoever's it is."""
        return self.wait(self.cloud.get_ip(address))

    def ips_of_job(self, unique: str) -> Sequence[FloatingIP]:
        """List the floating IPs whose mark has this unique."""
        return self.wait(self.cloud.ips_of_job(unique))

    def our_ip(self, address: str) -> FloatingIP:
        """Return the floating IP of this address, which has to be ours."""
        return self.wait(self.cloud.our_ip(address))

    def device_of_ip(self, ip: FloatingIP) -> Device | None:
        """Return the device a floating IP is attached to, None if none."""
        return self.wait(self.cloud.device_of_ip(ip))

    def mark_ip(self, ip: FloatingIP, mark: Mark) -> None:
        """Write another mark on a floating IP."""
        self.wait(self.cloud.mark_ip(ip, mark))

    def attach_ip(self, ip: FloatingIP | str, device: Device) -> FloatingIP:
        """Attach a floating IP, wherever it is, until it is in effect."""
        return self.wait(self.cloud.attach_ip(ip, device))

    def detach_ip(
        self, ip: FloatingIP | str, device: Device | None = None
    ) -> FloatingIP:
        """Detach a floating IP, until it is in effect; it stays allocated."""
        return self.wait(self.cloud.detach_ip(ip, device))

    def delete_ip(self, ip: FloatingIP) -> None:
        """Give a floating IP back, attached or not."""
        self.wait(self.cloud.delete_ip(ip))


@contextmanager
def open_cloud(
    driver: Driver,
    *,
    ownership: Callable[[], Ownership] | None = None,
    observer: Observer | None = None,
    pace: Pace = Pace(),  # noqa: B008 - it is frozen
    timeout: float | None = None,
) -> Iterator[BlockingCloud]:
    """Use a cloud in a program that has no loop; closes the driver at last.

    :param driver: the cloud's driver
    :param ownership: tells what may be touched; None for everything
    :param observer: told of each request to the cloud
    :param pace: the times of waiting
    :param timeout: seconds that each call may take; None for any number
    """
    cloud = Cloud(driver, ownership=ownership, observer=observer, pace=pace)
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        end = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), end))
        await end.wait()
        await cloud.settled()

    thread = threading.Thread(
        target=lambda: asyncio.run(serve()), name="poolmgr-loop", daemon=True
    )
    thread.start()
    loop, end = started.result()
    try:
        yield BlockingCloud(cloud, loop, timeout)
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(pace.clean_up)
        cloud.close()
