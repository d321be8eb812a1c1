"""BUILD_DEVICE."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from poolmgr.actions.base import NoFields
from poolmgr.actions.handover import CreatingAction
from poolmgr.drivers.base import Device
from poolmgr.errors import DeviceFailed, DeviceNotDeleted, PoolmgrError
from poolmgr.ownership import Mark, new_name
from poolmgr.text import one_line
from poolmgr.tracing import current

#: What clients are told of: the cloud has taken it on, it has booted, and, by
#: the answer itself, it is handed over.
_STAGES = 3
#: States in which an earlier delivery may still be at it.
_NOT_ANSWERED = ("building", "handed over")
#: What of an earlier delivery is taken over first.
_BEST = ("active", "building", "failed")


class BuildDevice(CreatingAction[NoFields, Device]):
    """Boot a device and answer its name and address.

    A device that fails to boot in time is deleted before the FAIL is
    answered.  If that fails too, the answer names the device, for the client
    to delete it later.
    """

    takes = NoFields
    answers = ("name", "addr", "type", "az")
    long = True
    cleanup_time = 60.0

    async def create(self, request: NoFields) -> Device:
        """See :meth:`CreatingAction.create`."""
        name = new_name(self.context.ownership.basename)
        mark = self.context.new_mark()
        try:
            return await self.context.cloud.create_device(
                name, mark, max_wait=self.context.max_wait
            )
        except asyncio.CancelledError:
            trace = current()
            if trace is None or trace.left is None:
                raise
            name, reason = trace.left
            cause = self.context.error
            answer = self._answer(name, "")
            raise DeviceNotDeleted(name, cause, reason, answer) from None

    async def wait_ready(self, device: Device) -> Device:
        """See :meth:`CreatingAction.wait_ready`."""
        self.context.report(1, _STAGES)
        ready = await self.context.cloud.wait_ready(device)
        self.context.report(2, _STAGES)
        return ready

    async def take_over(self, device: Device) -> tuple[Device, Mark]:
        """See :meth:`CreatingAction.take_over`."""
        if device.status == "failed":
            raise DeviceFailed(device.name, device.fault or "it failed before")
        device, mark = await super().take_over(device)
        before = device.mark
        # Clouds mark no device that boots; it is when it is handed over.
        if (
            before is not None
            and device.status == "active"
            and before.state in _NOT_ANSWERED
            and not self.context.abandoned
        ):
            # Its state stays: if this worker is killed, the write may take
            # effect only when the next has handed the device over.
            taken = replace(mark, state=before.state)
            await self.context.cloud.mark_device(device, taken)
            device = replace(device, mark=taken)
        return device, mark

    def rank(self, device: Device) -> tuple[int, bool]:
        """See :meth:`CreatingAction.rank`."""
        return _BEST.index(device.status), super().rank(device)

    def is_spare(self, device: Device, before: Mark | None) -> bool:
        """See :meth:`CreatingAction.is_spare`."""
        # A creation that took effect twice.
        twice = self._made is not None and device.mark == self._made
        return twice or super().is_spare(device, before)

    async def find_of_job(self) -> Sequence[Device]:
        """See :meth:`CreatingAction.find_of_job`."""
        return await self.context.cloud.devices_of_job(self.context.job.unique)

    async def reread(self, device: Device) -> Device | None:
        """See :meth:`CreatingAction.reread`."""
        return await self.context.cloud.get_device(device.id)

    async def write_mark(self, device: Device, mark: Mark) -> None:
        """See :meth:`CreatingAction.write_mark`."""
        await self.context.cloud.mark_device(device, mark)

    async def delete(self, device: Device) -> None:
        """See :meth:`CreatingAction.delete`."""
        await self.context.cloud.delete_device(device)

    def answer(self, device: Device) -> dict[str, str]:
        """See :meth:`CreatingAction.answer`."""
        return self._answer(device.name, device.address or "")

    def _answer(self, name: str, address: str) -> dict[str, str]:
        settings, image = self.context.settings, self.context.cloud.image
        return {
            "name": name,
            "addr": address,
            "type": f"basename: {settings.basename}, image: {image}",
            "az": settings.az,
        }

    def name(self, device: Device) -> str:
        """See :meth:`CreatingAction.name`."""
        return f"device {one_line(device.name)}"

    def not_deleted(
        self, device: Device, cause: BaseException, why: PoolmgrError
    ) -> PoolmgrError:
        """See :meth:`CreatingAction.not_deleted`."""
        answer = self.answer(device)
        return DeviceNotDeleted(device.name, cause, why, answer)
