"""The cloud: the interface that actions use."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from poolmgr import errors
from poolmgr.cloud.calls import Calls
from poolmgr.cloud.devices import Devices, unique_of
from poolmgr.cloud.lifecycle import PAUSES, Creation, delete_until_gone
from poolmgr.cloud.lookups import Lookups
from poolmgr.cloud.pace import Pace, backoff, time_limit
from poolmgr.cloud.pool import CallPool
from poolmgr.drivers import verbs
from poolmgr.drivers.base import Device, Driver, Finding, FloatingIP
from poolmgr.drivers.verbs import Verb
from poolmgr.events import Observer
from poolmgr.ownership import Mark, Ownership
from poolmgr.tracing import RequestContext, bound, current

LOG = logging.getLogger(__name__)

#: Seconds before a list that lacked an entry is requested again.
_LIST_AGAIN = 0.5
# For commands that delete nothing, and the tests of drivers.
_EVERYTHING = Ownership("", "", authority="any")


class Cloud(Devices):
    """Waits, retries, limits and checks for a driver.

    All coroutines run on one loop.  They have no timeouts of their own: use
    :func:`asyncio.timeout`, or cancel them.

    A cancel takes effect after the current changing request.  A device or
    floating IP that was just created is then deleted, or left if the context
    is abandoned; a second cancel does not wait for that.

    :param driver: the cloud's driver
    :param ownership: returns what this pool may touch; None: everything
    :param observer: told of each request to the cloud
    :param pool: runs the driver's methods; None: threads
    :param pace: how long to wait
    :ivar calls: calls the driver
    :ivar circuits: the circuit breakers
    :ivar poller: polls the devices that jobs wait for
    """

    def __init__(
        self,
        driver: Driver,
        *,
        ownership: Callable[[], Ownership] | None = None,
        observer: Observer | None = None,
        pool: CallPool | None = None,
        pace: Pace = Pace(),  # noqa: B008 - it is frozen
    ) -> None:
        calls = Calls(driver, pace, pool, observer)
        super().__init__(calls, ownership or (lambda: _EVERYTHING))
        self._ips_by_job = Lookups(calls, verbs.IPS_OF_JOBS, unique_of)
        self._by_address = Lookups(calls, verbs.FIND_IPS, lambda i: i.address)

    @property
    def image(self) -> str:
        """The configured image of devices."""
        return self.driver.image

    async def accepts(self, address: str, port: int) -> bool:
        """Return whether an address accepts a TCP connection now."""
        return await self.calls.ask(verbs.ACCEPTS, address, port)

    async def call_driver(self, method: str, *args: object) -> Any:
        """Call a method of the driver that is not in the contract.

        It gets the arguments and a timeout in seconds, and runs on a thread
        within the driver's limits.  It must be repeatable: it is called again
        after ``CloudUnavailable``.  Ownership is not checked: pass the result
        of :meth:`our_device` or :meth:`our_ip`.

        :param method: the method's name
        :returns: what it returns
        :raises CloudError: the cloud refuses
        :raises PluginFailed: the driver has no such method, or a bug
        """
        if not hasattr(self.driver, method):
            raise errors.PluginFailed(f"this driver has no {method}")
        # As a change, so that a cancel waits until the call has ended.
        verb: Verb[Any] = Verb(method, "changing compute", Any)
        return await self.calls.ask(verb, *args)

    async def check(self, timeout: float = 60.0) -> Sequence[Finding]:
        """Check the driver's settings against the cloud.

        :param timeout: seconds after which the only finding is that the cloud
            does not answer
        """
        try:
            with bound(RequestContext(urgent=True)) as context:
                async with time_limit(context, timeout):
                    return await self.calls.ask(verbs.CHECK)
        except (errors.CloudError, errors.DeadlineExceeded) as error:
            return [Finding("cloud", "", problem=str(error))]

    def close(self) -> None:
        """Let all waits fail, and end the threads when their calls do.

        The driver stays open.  This may be called after the loop has ended.
        """
        self.poller.close()
        self.calls.close()

    async def create_ip(self, mark: Mark, max_wait: float = 0.0) -> FloatingIP:
        """Allocate a floating IP with a mark.

        :param max_wait: maximum seconds to wait for quota
        :raises QuotaExceeded: the quota or the network is used up
        :raises CloudError: the cloud refuses
        """
        until = asyncio.get_running_loop().time() + max_wait

        async def find() -> Sequence[FloatingIP]:
            found = await self.ips_of_job(mark.unique)
            # Clients may reuse a unique; a mark has time and handle, too.
            return [ip for ip in found if ip.mark == mark]

        calls, what, delete = self.calls, "a floating IP", self._delete_ip
        create = partial(calls.ask, verbs.CREATE_IP, mark, quota_until=until)
        return await Creation(calls, what, create, find, delete).run()

    async def list_ips(self) -> Sequence[FloatingIP]:
        """List all floating IPs of the project."""
        return await self.calls.ask(verbs.LIST_IPS)

    async def find_ip(self, address: str) -> FloatingIP | None:
        """Return the floating IP of exactly this address, or None."""
        found = await self._by_address.get(address)
        return found[0] if found else None

    async def get_ip(self, address: str) -> FloatingIP:
        """Return the floating IP of this address, of this pool or another.

        :raises NotFound: two lists lack it
        """
        found = await self.find_ip(address)
        if found is None:
            # A list may lack an entry, but hardly the same one twice.
            await asyncio.sleep(_LIST_AGAIN)
            found = await self.find_ip(address)
        if found is None:
            raise errors.NotFound("floating IP", address)
        return found

    async def ips_of_job(self, unique: str) -> Sequence[FloatingIP]:
        """List the floating IPs whose mark has this unique."""
        return await self._ips_by_job.get(unique)

    async def our_ip(self, address: str) -> FloatingIP:
        """Return the floating IP of exactly this address.

        :raises NotFound: there is none
        :raises NotOwned: it is not this pool's
        """
        ip = await self.get_ip(address)
        await self._require_our_ip(ip)
        return ip

    async def device_of_ip(self, ip: FloatingIP) -> Device | None:
        """Return the device that a floating IP is attached to, or None."""
        return await self.get_device(ip.device_id) if ip.device_id else None

    async def mark_ip(self, ip: FloatingIP, mark: Mark) -> None:
        """Replace the mark of a floating IP.

        :raises Changed: the floating IP has changed since ``ip`` was read
        :raises NotOwned: it is not this pool's
        """
        await self._require_our_ip(ip)
        await self.calls.ask(verbs.MARK_IP, ip, mark)

    async def delete_ip(self, ip: FloatingIP) -> None:
        """Release a floating IP, attached or not.

        It is no error if it is already gone.

        :raises NotOwned: it is not this pool's
        :raises CloudError: the cloud refuses
        """
        await self._require_our_ip(ip)
        await self._delete_ip(ip)
        self.circuits.quotas["making network"].hint()

    async def attach_ip(
        self, ip: FloatingIP | str, device: Device
    ) -> FloatingIP:
        """Attach or move a floating IP, and wait until that is in effect.

        :param ip: the floating IP as it was just read, or its address
        :returns: the floating IP as it is now
        :raises NotFound: there is no such floating IP
        :raises NotOwned: it is not this pool's
        :raises CloudError: the cloud refuses
        """

        async def attach(ip: FloatingIP) -> None:
            await self._require_our_ip(ip)
            await self.calls.ask(verbs.ATTACH_IP, ip, device)

        return await self._change(ip, attach, device)

    async def detach_ip(
        self, ip: FloatingIP | str, device: Device | None = None
    ) -> FloatingIP:
        """Detach a floating IP, and wait until that is in effect.

        :param ip: the floating IP as it was just read, or its address
        :param device: the device that it must be attached to; None: any
        :returns: the floating IP as it is now
        :raises NotFound: there is no such floating IP
        :raises AttachedElsewhere: it is attached to another device
        :raises NotOwned: it is not this pool's
        :raises CloudError: the cloud refuses
        """

        async def detach(ip: FloatingIP) -> None:
            if device is None or not self._is_ours(device):
                await self._require_our_ip(ip)
            if device is not None and ip.device_id != device.id:
                raise errors.AttachedElsewhere(
                    f"floating IP {ip.address!r} is attached to another "
                    f"device than {device.name!r}; it was not touched"
                )
            await self.calls.ask(verbs.DETACH_IP, ip)

        return await self._change(ip, detach, None)

    async def _require_our_ip(self, ip: FloatingIP) -> None:
        ownership, is_attached = self._ownership(), ip.device_id is not None
        if ownership.of_ip(ip.mark, is_attached, ours=False):
            return
        # A floating IP that is attached to our device is ours as well.
        device = await self.device_of_ip(ip)
        if device is None or not self._is_ours(device):
            raise errors.NotOwned(
                "floating IP", ip.address, ownership.authority
            )

    async def _delete_ip(self, ip: FloatingIP) -> None:
        async def is_gone() -> bool:
            now = await self.find_ip(ip.address)
            # The cloud may have given the address to somebody else.
            return now is None or now.id != ip.id

        calls, what = self.calls, f"floating IP {ip.address}"
        request = partial(calls.ask, verbs.DELETE_IP, ip)
        await delete_until_gone(calls, what, request, is_gone, at_once=True)

    async def _change(
        self,
        ip: FloatingIP | str,
        request: Callable[[FloatingIP], Awaitable[None]],
        device: Device | None,
    ) -> FloatingIP:
        """Request a change until it is in effect.

        Clouds lose requests, and other programs make changes in between.

        :param request: requests the change
        :param device: the device to attach the floating IP to; None: none
        """
        now = await self.get_ip(ip) if isinstance(ip, str) else ip
        wanted = device.id if device else None
        doing = f"detaching {now.address}"
        if device is not None:
            doing = f"attaching {now.address} to device {device.name!r}"
        context = current() or RequestContext()
        pauses = backoff(*PAUSES)
        while now.device_id != wanted:
            try:
                await request(now)
            except errors.Changed as error:
                # It is read again below, and the change decided anew.
                context.trouble = error
            now = await self.get_ip(now.address)
            if now.device_id != wanted:
                context.doing = doing
                LOG.info("%s: not in effect yet", doing)
                await asyncio.sleep(next(pauses))
        return now
