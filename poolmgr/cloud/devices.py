"""The devices of a cloud."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from poolmgr import errors
from poolmgr.cloud.calls import Calls
from poolmgr.cloud.lifecycle import Creation, delete_until_gone
from poolmgr.cloud.lookups import Lookups
from poolmgr.cloud.pace import backoff
from poolmgr.cloud.poller import Poller
from poolmgr.drivers import verbs
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.ownership import Mark, Ownership
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)

#: Seconds that finding out why a device failed may take.
_EXPLAIN_TIME = 10.0


class Devices:
    """The methods of :class:`~poolmgr.cloud.Cloud` for devices.

    :param calls: calls the driver
    :param ownership: returns what this pool may touch
    """

    def __init__(
        self, calls: Calls, ownership: Callable[[], Ownership]
    ) -> None:
        self.calls = calls
        self._ownership = ownership
        self.driver, self.circuits = calls.driver, calls.circuits
        self.poller = Poller(calls, calls.driver.limits.poll_interval)
        self._by_name = Lookups(calls, verbs.FIND_DEVICES, lambda d: d.name)
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
        # Not in ask(): it is about boots, which no call shows.
        await self.circuits.boots.wait(max_wait)
        calls, what, delete = self.calls, f"device {name!r}", self._delete
        create = partial(
            calls.ask, verbs.CREATE_DEVICE, name, mark, quota_until=until
        )
        find = partial(self.find_devices, name)
        return await Creation(calls, what, create, find, delete).run()

    async def wait_ready(self, device: Device) -> Device:
        """Wait until a device is ready.

        :returns: the device as it is now
        :raises DeviceFailed: it failed, or is gone
        :raises CloudError: the cloud refuses to finish it
        """
        # One coroutine, because thousands of builds wait here.
        context = current() or RequestContext()
        out_of_sight = self.calls.pace.out_of_sight
        loop = asyncio.get_running_loop()
        missing_since: float | None = None
        try:
            while not device.ready:
                if device.status == "failed":
                    reason = await self._explain(device)
                    raise errors.DeviceFailed(device.name, reason)
                context.doing = _describe_wait(device)
                seen = await self.poller.next_change(device)
                if seen is not None:
                    device, missing_since = seen, None
                elif missing_since is None:
                    missing_since = loop.time()  # lists may lag or have gaps
                elif loop.time() - missing_since >= out_of_sight:
                    device, missing_since = await self._reread(device), None
            device = await self._finish(device)
        except (errors.DeviceFailed, errors.QuotaExceeded) as error:
            self.circuits.boots.record(error)
            raise
        except asyncio.CancelledError:
            # Polls that fail explain why it is not ready.
            context.trouble = context.trouble or self.poller.trouble
            raise
        self.circuits.boots.record()
        return device

    async def delete_device(self, device: Device) -> None:
        """Delete a device and wait until it is gone.

        A device that is gone already is no error.

        :raises NotOwned: it is not this pool's
        :raises CloudError: the cloud refuses
        """
        self._require_ours(device)
        await self._delete(device)
        if device.mark is None or not device.mark.is_left:
            # The device of a failed build makes no room for another one.
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
            raise errors.NotFound("device", name)
        if len(found) > 1:
            raise errors.Ambiguous(
                "device", name, [device.id for device in found]
            )
        self._require_ours(found[0])
        return found[0]

    # -- inside -------------------------------------------------------------

    def _require_ours(self, device: Device) -> None:
        if not self._is_ours(device):
            authority = self._ownership().authority
            raise errors.NotOwned("device", device.name, authority)

    def _is_ours(self, device: Device) -> bool:
        return self._ownership().of_device(device.name, device.mark)

    async def _reread(self, device: Device) -> Device:
        found = await self.get_device(device.id)
        if found is None:
            raise errors.DeviceFailed(device.name, "it disappeared")
        return found

    async def _finish(self, device: Device) -> Device:
        """Let the driver finish an active device."""
        context = current() or RequestContext()
        for pause in backoff(*self.calls.pace.retry):
            try:
                device = await self.calls.ask(verbs.FINISH_DEVICE, device)
                if device.ready:
                    break
            except errors.Changed as error:
                LOG.info("device %s: %s; trying again", device.name, error)
                context.trouble = error
            context.doing = f"finishing device {device.name!r}"
            await asyncio.sleep(pause)
        return device

    async def _explain(self, device: Device) -> str:
        """Return why a device failed, in as much detail as the cloud has."""
        reason = ""
        try:
            # The job has failed; it must not wait long for the details.
            async with asyncio.timeout(_EXPLAIN_TIME):
                reason = await self.calls.ask(verbs.EXPLAIN_FAILURE, device)
        except (errors.PoolmgrError, TimeoutError) as error:
            LOG.info("no details of device %s: %s", device.name, error)
        return reason or device.fault or "no reason was given"

    async def _delete(self, device: Device) -> None:
        calls, what = self.calls, f"device {device.name!r}"
        request = partial(calls.ask, verbs.DELETE_DEVICE, device)
        is_gone = partial(self._disappears, device)
        await delete_until_gone(calls, what, request, is_gone)

    async def _disappears(self, device: Device) -> bool:
        """Wait until the cloud neither lists nor shows a device.

        :returns: False if it takes so long that the deletion is repeated
        """
        context = current() or RequestContext()
        try:
            async with asyncio.timeout(self.calls.pace.delete_again) as limit:
                while True:
                    context.doing = f"deleting device {device.name!r}"
                    seen = await self.poller.next_change(device)
                    # A poll lacks the devices of a cell that is down.
                    if seen is None and not await self.get_device(device.id):
                        return True
                    device = seen or device
        except TimeoutError:
            if not limit.expired():
                raise
            return False


def _describe_wait(device: Device) -> str:
    state: str = device.status
    if state == "active":
        state += ", but without an address"
    return f"waiting for device {device.name!r} to boot (it is {state})"


def unique_of(resource: Device | FloatingIP) -> str | None:
    """Return the unique of the job that a resource was created for."""
    return resource.mark.unique if resource.mark else None
