"""The floating IPs of a cloud."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from poolmgr.cloud.calls import Calls
from poolmgr.cloud.devices import Devices, unique_of
from poolmgr.cloud.lifecycle import PAUSES, Creation, delete_ip
from poolmgr.cloud.lookups import Lookups
from poolmgr.cloud.pace import backoff
from poolmgr.drivers import verbs
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.errors import AttachedElsewhere, Changed, NotFound, NotOwned
from poolmgr.ownership import Mark, Ownership
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)

#: Seconds after which a list that lacked something is asked for once more.
_HOLE = 0.5


class FloatingIPs(Devices):
    """What :class:`~poolmgr.cloud.Cloud` does with floating IPs.

    Clouds lose requests, and others change things in between.  So to attach
    and to detach is to ask until the change is seen to be in effect.
    """

    def __init__(
        self, calls: Calls, ownership: Callable[[], Ownership] | None
    ) -> None:
        super().__init__(calls, ownership)
        self._by_address = Lookups(
            calls, verbs.FIND_IPS, lambda ip: ip.address
        )
        self._ips_by_job = Lookups(calls, verbs.IPS_OF_JOBS, unique_of)

    async def create_ip(self, mark: Mark, max_wait: float = 0.0) -> FloatingIP:
        """Allocate a floating IP, marked from birth.

        :param max_wait: seconds to wait for room in the cloud, at most
        :raises QuotaExceeded: there is none left, for us or at all
        :raises CloudError: the cloud says no
        """
        return await Creation(
            self._calls,
            "a floating IP",
            verbs.CREATE_IP,
            (mark,),
            verbs.FIND_CREATED_IPS,
            ("ip", "", mark),
            self._delete_ip,
        ).run(max_wait)

    async def list_ips(self) -> Sequence[FloatingIP]:
        """List all floating IPs, other people's too."""
        return await self._calls.ask(verbs.LIST_IPS)

    async def find_ip(self, address: str) -> FloatingIP | None:
        """Return the floating IP of exactly this address, None if none."""
        found = await self._by_address.get(address)
        return found[0] if found else None

    async def get_ip(self, address: str) -> FloatingIP:
        """Return the floating IP of this address, whoever's it is.

        :raises NotFound: two lists lack it
        """
        found = await self.find_ip(address)
        if found is None:
            # A list can have holes, but hardly the same twice.
            await asyncio.sleep(_HOLE)
            found = await self.find_ip(address)
        if found is None:
            raise NotFound("floating IP", address)
        return found

    async def ips_of_job(self, unique: str) -> Sequence[FloatingIP]:
        """List the floating IPs whose mark has this unique."""
        return await self._ips_by_job.get(unique)

    async def our_ip(self, address: str) -> FloatingIP:
        """Return the floating IP of exactly this address.

        :raises NotFound: there is none
        :raises NotOwned: it is not ours
        """
        ip = await self.get_ip(address)
        await self._require_our_ip(ip)
        return ip

    async def device_of_ip(self, ip: FloatingIP) -> Device | None:
        """Return the device a floating IP is attached to, None if none."""
        if ip.device_id is None:
            return None
        return await self.get_device(ip.device_id)

    async def mark_ip(self, ip: FloatingIP, mark: Mark) -> None:
        """Write another mark on a floating IP.

        :raises Changed: the floating IP is not what ``ip`` says any more
        :raises NotOwned: it is not ours
        """
        await self._require_our_ip(ip)
        await self._calls.ask(verbs.MARK_IP, ip, mark)

    async def delete_ip(self, ip: FloatingIP) -> None:
        """Give a floating IP back, attached or not.

        One that is gone already is no error.

        :raises NotOwned: it is not ours
        :raises CloudError: the cloud says no
        """
        await self._require_our_ip(ip)
        await self._delete_ip(ip)
        self.circuits.quotas["create_ip"].hint()

    async def attach_ip(
        self, ip: FloatingIP | str, device: Device
    ) -> FloatingIP:
        """Attach a floating IP, wherever it is, until it is in effect.

        :param ip: the floating IP as it was just read, or its address
        :returns: the floating IP as it is then
        :raises NotFound: there is no such floating IP
        :raises NotOwned: it is not ours
        :raises CloudError: the cloud says no
        """

        async def ask(ip: FloatingIP) -> None:
            await self._require_our_ip(ip)
            await self._calls.ask(verbs.ATTACH_IP, ip, device)

        return await self._change(
            f"attaching {_address(ip)} to device {device.name!r}",
            ip,
            ask,
            lambda ip: ip.device_id == device.id,
        )

    async def detach_ip(
        self, ip: FloatingIP | str, device: Device | None = None
    ) -> FloatingIP:
        """Detach a floating IP, until it is in effect; it stays allocated.

        :param ip: the floating IP as it was just read, or its address
        :param device: the device that it has to be attached to, if it is
            attached at all; None for any
        :returns: the floating IP as it is then
        :raises NotFound: there is no such floating IP
        :raises AttachedElsewhere: it is attached to another device
        :raises NotOwned: it is not ours
        :raises CloudError: the cloud says no
        """

        async def ask(ip: FloatingIP) -> None:
            if device is None or not self._is_ours(device):
                await self._require_our_ip(ip)
            if device is not None and ip.device_id != device.id:
                raise AttachedElsewhere(ip.address, device.name)
            await self._calls.ask(verbs.DETACH_IP, ip)

        return await self._change(
            f"detaching {_address(ip)}",
            ip,
            ask,
            lambda ip: ip.device_id is None,
        )

    # -- inside -------------------------------------------------------------

    async def _require_our_ip(self, ip: FloatingIP) -> None:
        if self._ownership is None:
            return
        ownership, is_attached = self._ownership(), ip.device_id is not None
        if ownership.of_ip(ip.mark, is_attached, ours=False):
            return
        # Its own mark does not say so; the device that it is on may.
        ours = is_attached and self._is_ours(await self.device_of_ip(ip))
        if not ownership.of_ip(ip.mark, is_attached, ours):
            raise NotOwned("floating IP", ip.address, ownership.authority)

    async def _delete_ip(self, ip: FloatingIP) -> None:
        await delete_ip(self._calls, self._by_address, ip)

    async def _change(
        self,
        doing: str,
        ip: FloatingIP | str,
        ask: Callable[[FloatingIP], Awaitable[None]],
        in_effect: Callable[[FloatingIP], bool],
    ) -> FloatingIP:
        """Ask for a change until it is read back.

        :param ask: requests the change
        :param in_effect: tells whether the floating IP is as wanted
        """
        now = await self.get_ip(ip) if isinstance(ip, str) else ip
        context, pauses = current() or RequestContext(), backoff(*PAUSES)
        while not in_effect(now):
            trouble: Changed | None = None
            try:
                await ask(now)
            except Changed as error:
                trouble = error
            now = await self.get_ip(now.address)
            if not in_effect(now):
                why = trouble or "not in effect yet"
                LOG.info("%s: %s; asking again", doing, why)
                context.doing, context.trouble = doing, trouble
                await asyncio.sleep(next(pauses))
                now = await self.get_ip(now.address)
        return now


def _address(ip: FloatingIP | str) -> str:
    return ip if isinstance(ip, str) else ip.address
