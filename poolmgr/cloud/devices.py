"""The devices of a cloud."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from poolmgr.cloud.calls import Calls
from poolmgr.cloud.lifecycle import Creation, delete_until_gone
from poolmgr.cloud.pace import backoff
from poolmgr.cloud.shared import Lookups, Poller
from poolmgr.drivers import verbs
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.errors import (
    Ambiguous,
    Changed,
    DeviceFailed,
    NotFound,
    NotOwned,
    PoolmgrError,
    QuotaExceeded,
)
from poolmgr.ownership import Mark, Ownership
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)


class Devices:
    """The methods of :class:`~poolmgr.cloud.Cloud` for devices.

    :param calls: calls the driver
    :param ownership: says what may be touched; None: everything
    """

    def __init__(
        self, calls: Calls, ownership: Callable[[], Ownership] | None
    ) -> None:
        self.calls = calls
        self._ownership = ownership
        self.driver, self.circuits = calls.driver, calls.circuits
        self.poller = Poller(calls, calls.driver.limits.poll_interval)
        self._by_name = Lookups(
            calls, verbs.FIND_DEVICES, lambda device: device.name
        )
        self._by_job = Lookups(calls, verbs.DEVICES_OF_JOBS, unique_of)

    async def create_device(
        self, name: str, mark: Mark, max_wait: float = 0.0
    ) -> Device:
        """Create a device with a mark; do not wait for its boot.

        :param max_wait: maximum seconds to wait for quota
        :raises QuotaExceeded: the quota is used up
        :raises CloudError: the cloud refuses
        """
        until = asyncio.get_running_loop().time() + max_wait
        await self.circuits.boots.wait(max_wait)
        ask = self.calls.ask
        return await Creation(
            self.calls,
            f"device {name!r}",
            partial(ask, verbs.CREATE_DEVICE, name, mark, room_until=until),
            partial(ask, verbs.FIND_DEVICES, [name]),
            self._delete_device,
        ).run()

    async def wait_ready(self, device: Device) -> Device:
        """Wait until a device is ready.

        :returns: the device as it is now
        :raises DeviceFailed: it failed, or is gone
        :raises CloudError: the cloud refuses to finish it
        """
        # One coroutine, for thousands may be here.
        context = current() or RequestContext()
        loop = asyncio.get_running_loop()
        missed_at: float | None = None
        try:
            while not device.ready:
                if device.status == "failed":
                    reason = await self._explain(device)
                    raise DeviceFailed(device.name, reason)
                context.doing = _waiting_for(device)
                seen = await self.poller.news(device)
                now = loop.time()
                if seen is not None:
                    device, missed_at = seen, None
                elif missed_at is None:
                    missed_at = now  # lists have holes, and show late
                elif now - missed_at >= self.calls.pace.out_of_sight:
                    device, missed_at = await self._reread(device), None
            ready = await self._finish(device)
        except (DeviceFailed, QuotaExceeded) as error:
            self.circuits.boots.record(error)
            raise
        self.circuits.boots.record()
        return ready

    async def delete_device(self, device: Device) -> None:
        """Delete a device and wait until it is gone.

        A device that is gone already is no error.

        :raises NotOwned: it is not this pool's
        :raises CloudError: the cloud refuses
        """
        self._require_ours(device)
        await self._delete_device(device)
        if device.mark is None or not device.mark.is_left:
            # What a failed build leaves makes no room that was not there.
            self.circuits.quotas["making compute"].hint()
            self.circuits.boots.hint()

    async def list_devices(self) -> Sequence[Device]:
        """List all devices of the project."""
        return await self.calls.ask(verbs.LIST_DEVICES)

    async def find_devices(self, name: str) -> Sequence[Device]:
        """List the devices of exactly this name."""
        return await self._by_name.get(name)

    async def devices_of_job(self, unique: str) -> Sequence[Device]:
        """List the devices whose mark has this unique."""
        return await self._by_job.get(unique)

    async def get_device(self, id: str) -> Device | None:
        """Return the device with this id, or None."""
        return await self.calls.ask(verbs.GET_DEVICE, id)

    async def mark_device(self, device: Device, mark: Mark) -> None:
        """Replace the mark of an active device.

        :raises NotOwned: it is not this pool's
        :raises CloudError: the cloud refuses
        """
        self._require_ours(device)
        await self.calls.ask(verbs.MARK_DEVICE, device, mark)

    async def our_device(self, name: str) -> Device:
        """Return the one device of exactly this name.

        :raises NotFound: there is none
        :raises Ambiguous: there are several
        :raises NotOwned: it is not this pool's
        """
        found = await self.find_devices(name)
        if not found:
            raise NotFound("device", name)
        if len(found) > 1:
            raise Ambiguous("device", name, [device.id for device in found])
        self._require_ours(found[0])
        return found[0]

    # -- inside -------------------------------------------------------------

    def _require_ours(self, device: Device) -> None:
        if self._ownership is not None and not self._is_ours(device):
            authority = self._ownership().authority
            raise NotOwned("device", device.name, authority)

    def _is_ours(self, device: Device | None) -> bool:
        if self._ownership is None:
            return True
        return device is not None and self._ownership().of_device(
            device.name, device.mark
        )

    async def _reread(self, device: Device) -> Device:
        found = await self.get_device(device.id)
        if found is None:
            raise DeviceFailed(device.name, "it disappeared")
        return found

    async def _finish(self, device: Device) -> Device:
        """Have the driver do what is left to do for an active device."""
        context = current() or RequestContext()
        pauses = backoff(
            self.calls.pace.retry_first, self.calls.pace.retry_longest
        )
        while True:
            try:
                finished = await self.calls.ask(verbs.FINISH_DEVICE, device)
                if finished.ready:
                    return finished
            except Changed as error:
                LOG.info("device %s: %s; trying again", device.name, error)
                context.trouble = error
            context.doing = f"finishing device {device.name!r}"
            await asyncio.sleep(next(pauses))

    async def _explain(self, device: Device) -> str:
        """Return why a device failed, with all that the cloud tells."""
        fault = device.fault or "no reason was given"
        failed = replace(device, fault=fault)
        try:
            async with asyncio.timeout(self.calls.pace.explain):
                said = await self.calls.ask(verbs.EXPLAIN_FAILURE, failed)
        except (PoolmgrError, TimeoutError) as error:
            LOG.info("no details of device %s: %s", device.name, error)
            return fault
        return said or fault

    async def _delete_device(self, device: Device) -> None:
        async def is_shown() -> bool:
            if await self.get_device(device.id) is not None:
                return True
            listed = await self.find_devices(device.name)
            return any(each.id == device.id for each in listed)

        await delete_until_gone(
            self.calls,
            f"device {device.name!r}",
            partial(self.calls.ask, verbs.DELETE_DEVICE, device),
            is_shown,
            partial(self._goes, device),
        )

    async def _goes(self, device: Device) -> bool:
        """Tell whether a device is soon neither listed nor shown any more."""
        context = current() or RequestContext()
        try:
            async with asyncio.timeout(self.calls.pace.delete_again) as limit:
                while True:
                    context.doing = f"deleting device {device.name!r}"
                    seen = await self.poller.news(device)
                    if seen is None and not await self.get_device(device.id):
                        return True
                    device = seen or device
        except TimeoutError:
            if not limit.expired():
                raise
            return False


def _waiting_for(device: Device) -> str:
    seen: str = device.status
    if device.status == "active":
        seen += ", but without an address"
    return f"waiting for device {device.name!r} to boot (it is {seen})"


def unique_of(resource: Device | FloatingIP) -> str | None:
    """Return the unique of the job that something was made for."""
    return resource.mark.unique if resource.mark else None
