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


async def delete_device(calls: Calls, poller: Poller, device: Device) -> None:
    """Delete a device, and wait until it is gone.

    The cloud's word alone does not do.  Of Nova: a server without a cell is
    listed and answers 404 to DELETE, one whose cell is down is in no list, and
    a new one may not be shown yet.

    :raises CloudUnavailable: the cloud says that there is no such device,
        and shows it
    """
    loop = asyncio.get_running_loop()
    accepted = False
    end: float | None = None
    for pause in backoff(*_PAUSES):
        if await calls.ask(checks.DELETE_DEVICE, device):
            accepted = True
            if await _goes(calls, poller, device):
                return
        elif accepted:
            return
        elif end is None:
            end = loop.time() + calls.pace.out_of_sight
        elif loop.time() > end:
            if not await _is_in_sight(calls, device):
                return
            raise CloudUnavailable(
                f"the cloud says that there is no device {device.name!r} to "
                "delete, and still shows it"
            )
        LOG.info("device %s is still there", device.name)
        await asyncio.sleep(pause)


async def _goes(calls: Calls, poller: Poller, device: Device) -> bool:
    """Tell whether a device is soon neither listed nor shown any more."""
    id_, context = device.id, current() or RequestContext()
    try:
        async with asyncio.timeout(calls.pace.delete_again) as limit:
            while True:
                context.doing = f"deleting device {device.name!r}"
                seen = await poller.news(device)
                if seen is not None:
                    device = seen
                elif await calls.ask(checks.GET_DEVICE, id_) is None:
                    return True
    except TimeoutError:
        if not limit.expired():
            raise
        return False


async def _is_in_sight(calls: Calls, device: Device) -> bool:
    """Tell whether the cloud shows a device, or lists it."""
    if await calls.ask(checks.GET_DEVICE, device.id) is not None:
        return True
    poll = await calls.ask(checks.POLL, (device,))
    return device.id in {*poll.unchanged, *(seen.id for seen in poll.seen)}


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
