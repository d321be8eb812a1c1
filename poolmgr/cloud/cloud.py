"""The cloud as actions see it: it waits, repeats, and limits by itself."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from poolmgr.cloud.calls import Calls
from poolmgr.cloud.ips import FloatingIPs
from poolmgr.cloud.pace import Pace, time_limit
from poolmgr.cloud.pool import Pool
from poolmgr.drivers import verbs
from poolmgr.drivers.base import Driver, Finding
from poolmgr.drivers.lifecycle import close_driver
from poolmgr.drivers.verbs import Verb
from poolmgr.errors import CloudError, DeadlineExceeded
from poolmgr.events import Observer
from poolmgr.ownership import Ownership
from poolmgr.tracing import RequestContext, bound, current


class Cloud(FloatingIPs):
    """A driver with everything that waits around it.

    All coroutines run on one loop.  They have no time-outs of their own: end
    them by :func:`asyncio.timeout`, or by a cancel.  What they wait for is
    noted in the caller's :class:`~poolmgr.tracing.RequestContext`.

    A cancel takes effect when a request that changes something has ended.  A
    device or floating IP that was just made is deleted then, or left as it is
    if the context is abandoned; a second cancel does not wait for that.

    :param driver: the cloud's driver
    :param ownership: tells what may be touched; None for everything
    :param observer: told of each request to the cloud
    :param pool: runs the driver's verbs; None for threads
    :param pace: the times of waiting
    :ivar driver: the cloud's driver
    :ivar circuits: the circuit breakers
    """

    def __init__(
        self,
        driver: Driver,
        *,
        ownership: Callable[[], Ownership] | None = None,
        observer: Observer | None = None,
        pool: Pool | None = None,
        pace: Pace = Pace(),  # noqa: B008 - it is frozen
    ) -> None:
        super().__init__(Calls(driver, pace, pool, observer), ownership)

    @property
    def image(self) -> str:
        """The image that devices are made from, as configured.

        :raises PluginFailed: the driver's image is no text
        """
        return verbs.image_of(self.driver)

    @property
    def awaited(self) -> int:
        """How many devices are waited for."""
        return self._poller.waiting

    @property
    def view_age(self) -> float:
        """Seconds since the cloud was asked for these with success; 0 while
        there are none."""
        return self._poller.age

    @property
    def overdue(self) -> float:
        """Seconds since a call of the driver should have returned, and none
        has: something inside this process hangs."""
        return self._calls.overdue

    def try_again(self) -> None:
        """Log in at once although the cloud has refused it."""
        self.circuits.login.hint()

    async def accepts(self, address: str, port: int) -> bool:
        """Tell whether a TCP connection to an address can be made now."""
        return await self._calls.ask(verbs.ACCEPTS, address, port)

    async def call_driver(self, method: str, *args: object) -> Any:
        """Call a method of the driver that other drivers do not have.

        It gets the arguments and a time-out in seconds, as each method of a
        driver does, and runs on a thread, within the driver's limits.  After
        ``CloudUnavailable`` it is called again, so it must be repeatable.
        Nothing checks ownership here: pass on what :meth:`our_device` or
        :meth:`our_ip` returned.

        :param method: the method's name
        :returns: what it returns
        :raises CloudError: the cloud says no
        :raises PluginFailed: there is no such method, or it is defective
        """
        verb: Verb[Any] = Verb(method, "changing compute", Any)
        return await self._calls.ask(verb, *args)

    async def check(self, timeout: float = 60.0) -> Sequence[Finding]:
        """Check the driver's settings against the cloud.

        :param timeout: seconds after which it is a finding that the cloud
            does not answer
        """
        context = replace(current() or RequestContext(), urgent=True)
        try:
            with bound(context):
                async with time_limit(context, timeout):
                    return await self._calls.ask(verbs.CHECK)
        except (CloudError, DeadlineExceeded) as error:
            return [Finding("cloud", "", problem=str(error))]

    async def settled(self) -> None:
        """Wait until everything that was made too late is deleted."""
        await self._calls.settled()

    def close(self, keep_driver: bool = False) -> None:
        """End the threads and close the driver; one that hangs is left.

        It may be called after the loop has ended, too.

        :param keep_driver: whether the driver stays open
        """
        self._poller.close()
        self._calls.close()
        if not keep_driver:
            close_driver(self.driver, self._pace.close)
