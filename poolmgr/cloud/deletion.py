"""Deleting things until they are known to be gone."""

import asyncio
import logging

from poolmgr.cloud import checks
from poolmgr.cloud.calls import Calls
from poolmgr.cloud.lookups import Lookups
from poolmgr.cloud.pace import Pace, backoff
from poolmgr.cloud.poller import Poller
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.errors import CloudUnavailable, PoolmgrError
from poolmgr.tracing import current

LOG = logging.getLogger(__name__)

#: Seconds between requests for a deletion: first and longest pause.
_PAUSES = 0.1, 2.0


class Deletion:
    """Deletes one device.

    The cloud's word alone does not do.  Of Nova: a server without a cell is
    listed and answers 404 to DELETE, one whose cell is down is in no list, and
    a new one may not be shown yet.

    :param calls: calls the driver
    :param poller: looks for the device
    :param device: what to delete
    :param pace: the times of waiting
    """

    def __init__(
        self, calls: Calls, poller: Poller, device: Device, pace: Pace
    ) -> None:
        self._calls = calls
        self._poller = poller
        self._device = device
        self._pace = pace
        self._accepted = False
        self._refused_at: float | None = None
        self._missed_at: float | None = None

    async def run(self) -> None:
        """Delete it, and wait until it is gone.

        :raises CloudUnavailable: the cloud says that there is no such device,
            and shows it
        """
        device = self._device
        for pause in backoff(*_PAUSES):
            if await self._calls.ask(checks.DELETE_DEVICE, device):
                self._accepted = True
                gone = await self._has_gone()
            else:
                gone = await self._was_gone()
            if gone:
                return
            LOG.info("device %s is still there", device.name)
            await asyncio.sleep(pause)

    async def _has_gone(self) -> bool:
        """Tell whether it is neither listed nor shown any more."""
        seconds = self._pace.delete_again
        if not await self._poller.wait_gone(self._device, seconds):
            return False
        found = await self._calls.ask(checks.GET_DEVICE, self._device.id)
        return found is None

    async def _was_gone(self) -> bool:
        """Tell whether a device is gone that the cloud does not know.

        :raises CloudUnavailable: the cloud still shows it, after a while
        """
        now = asyncio.get_running_loop().time()
        if self._refused_at is None:
            self._refused_at = now
        if await self._is_in_sight():
            self._missed_at = None
            refusal = CloudUnavailable(
                f"the cloud says that there is no device "
                f"{self._device.name!r} to delete, and still shows it"
            )
            if now - self._refused_at > self._pace.out_of_sight:
                raise refusal
            if (context := current()) is not None:
                context.trouble = refusal
            return False
        if self._missed_at is None:
            self._missed_at = now
        missed = now - self._missed_at > self._pace.out_of_sight
        return self._accepted or missed

    async def _is_in_sight(self) -> bool:
        """Tell whether the cloud shows the device, or lists it."""
        # If it accepted the deletion, then this only confirms that it went.
        seconds = self._pace.look_time if self._accepted else None
        device = self._device
        try:
            async with asyncio.timeout(seconds) as timeout:
                shown = await self._calls.ask(checks.GET_DEVICE, device.id)
                if shown is not None:
                    return True
                poll = await self._calls.ask(checks.POLL, (device,))
                return device.id in poll.unchanged or any(
                    seen.id == device.id for seen in poll.seen
                )
        except (PoolmgrError, TimeoutError) as error:
            ended = isinstance(error, PoolmgrError) or timeout.expired()
            if not (self._accepted and ended):
                raise
            return False


async def delete_ip(
    calls: Calls, by_address: Lookups[FloatingIP], ip: FloatingIP, pace: Pace
) -> None:
    """Give a floating IP back.

    :raises CloudUnavailable: the cloud says that there is no such floating
        IP, and still lists it
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + pace.out_of_sight
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
