"""Deleting things until they are known to be gone."""

import asyncio
import logging

from poolmgr.cloud import checks
from poolmgr.cloud.calls import Calls
from poolmgr.cloud.lookups import Lookups
from poolmgr.cloud.pace import backoff
from poolmgr.cloud.poller import Poller
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.errors import CloudUnavailable
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)

#: Seconds between requests for a deletion: first and longest pause.
_PAUSES = 0.1, 2.0


class DeviceDeletion:
    """Deletes one device.

    The cloud's word alone does not do.  Of Nova: a server without a cell is
    listed and answers 404 to DELETE, one whose cell is down is in no list, and
    a new one may not be shown yet.

    :param calls: calls the driver
    :param poller: polls the device
    :param device: what to delete
    """

    def __init__(self, calls: Calls, poller: Poller, device: Device) -> None:
        self._calls = calls
        self._pace = calls.pace
        self._poller = poller
        self._device = device

    async def run(self) -> None:
        """Delete it, and wait until it is gone.

        :raises CloudUnavailable: the cloud says that there is no such device,
            and shows it
        """
        device, loop = self._device, asyncio.get_running_loop()
        context = current() or RequestContext()
        accepted = False
        refused_at: float | None = None
        seen_at = 0.0
        for pause in backoff(*_PAUSES):
            if await self._calls.ask(checks.DELETE_DEVICE, device):
                accepted = True
                if await self._is_gone_in_time():
                    return
            elif accepted:
                return
            else:
                now = loop.time()
                if refused_at is None:
                    refused_at = seen_at = now
                if await self._is_in_sight():
                    seen_at = now
                    context.trouble = CloudUnavailable(
                        f"the cloud says that there is no device "
                        f"{device.name!r} to delete, and still shows it"
                    )
                    if now - refused_at > self._pace.out_of_sight:
                        raise context.trouble
                elif now - seen_at > self._pace.out_of_sight:
                    return
            LOG.info("device %s is still there", device.name)
            await asyncio.sleep(pause)

    async def _is_gone_in_time(self) -> bool:
        """Tell whether it is soon neither listed nor shown any more."""
        device = self._device
        context = current() or RequestContext()
        try:
            async with asyncio.timeout(self._pace.delete_again) as limit:
                while True:
                    context.doing = f"deleting device {device.name!r}"
                    seen = await self._poller.news(device)
                    if seen is not None:
                        device = seen
                    elif not await self._is_shown():
                        return True
        except TimeoutError:
            if not limit.expired():
                raise
            return False

    async def _is_shown(self) -> bool:
        device = await self._calls.ask(checks.GET_DEVICE, self._device.id)
        return device is not None

    async def _is_in_sight(self) -> bool:
        """Tell whether the cloud shows the device, or lists it."""
        if await self._is_shown():
            return True
        id_ = self._device.id
        poll = await self._calls.ask(checks.POLL, (self._device,))
        return id_ in poll.unchanged or id_ in {seen.id for seen in poll.seen}


async def delete_ip(
    calls: Calls, by_address: Lookups[FloatingIP], ip: FloatingIP
) -> None:
    """Give a floating IP back.

    :raises CloudUnavailable: the cloud says that there is no such floating
        IP, and still lists it
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + calls.pace.out_of_sight
    missed = False
    for pause in backoff(*_PAUSES):
        if await calls.ask(checks.DELETE_IP, ip):
            return
        listed = await by_address.get(ip.address)
        if any(each.id == ip.id for each in listed):
            missed = False
        elif missed:
            return
        else:
            missed = True  # a list can have holes
        if loop.time() > end:
            break
        await asyncio.sleep(pause)
    raise CloudUnavailable(
        f"the cloud says that there is no floating IP {ip.address} to "
        "delete, and still lists it"
    )
