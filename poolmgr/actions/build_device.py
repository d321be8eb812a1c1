"""BUILD_DEVICE."""

from collections.abc import Sequence

from poolmgr.actions.base import NoFields
from poolmgr.actions.handover import CreatingAction
from poolmgr.drivers.base import Device
from poolmgr.errors import DeviceNotDeleted
from poolmgr.ownership import Mark, new_name
from poolmgr.text import message_of, one_line

#: Steps in the progress: created, booted, and handed over with the answer.
_STEPS = 3


class BuildDevice(CreatingAction[NoFields, Device]):
    """Boot a device and return its name and address.

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
        context = self.context
        name = new_name(context.settings.ownership.basename)
        return await context.cloud.create_device(
            name, context.new_mark(), max_wait=context.max_wait
        )

    async def wait_ready(self, device: Device) -> Device:
        """See :meth:`CreatingAction.wait_ready`."""
        self.context.report(1, _STEPS)
        ready = await self.context.cloud.wait_ready(device)
        self.context.report(2, _STEPS)
        return ready

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
        settings, image = self.context.settings, self.context.cloud.image
        return {
            "name": device.name,
            "addr": device.address or "",
            "type": f"basename: {settings.basename}, image: {image}",
            "az": settings.az,
        }

    def name(self, device: Device) -> str:
        """See :meth:`CreatingAction.name`."""
        return f"device {one_line(device.name)}"

    def not_deleted(
        self, device: Device, cause: BaseException, why: Exception
    ) -> None:
        """See :meth:`CreatingAction.not_deleted`."""
        left = f"device {device.name!r} was not deleted: {message_of(why)}"
        reason = f"{message_of(cause)}; {left}"
        raise DeviceNotDeleted(reason, self.answer(device)) from cause
