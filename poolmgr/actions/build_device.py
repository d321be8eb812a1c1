"""BUILD_DEVICE."""

from collections.abc import Mapping

from poolmgr.actions.base import Action, Context, NoFields
from poolmgr.drivers.base import Device
from poolmgr.errors import DeviceNotDeleted, PoolmgrError
from poolmgr.identity import new_name
from poolmgr.waiting import Deadline


class BuildDevice(Action[NoFields]):
    """Boot a device and answer its name and address.

    A device that fails to boot in time is deleted before the FAIL is
    answered.  If that fails too, the answer names the device, for the client
    to delete it later.
    """

    takes = NoFields
    answers = ("name", "addr", "type", "az")
    long = True
    cleanup_time = 60.0

    def run(self, request: NoFields, context: Context) -> Mapping[str, str]:
        """See :meth:`Action.run`."""
        device = self._left_over(context) or self._create(context)
        try:
            device = context.driver.wait_for_device(device, context.deadline)
            self._hand_over(device, context)
        except BaseException as error:
            self._discard(device, error, context)
            raise
        return _answer(device, context)

    def undo(self, answer: Mapping[str, str], context: Context) -> None:
        """Delete the device, unless another delivery has taken it over."""
        for device in context.driver.find_devices(
            answer["name"], context.deadline
        ):
            mark = device.mark
            if mark and (mark.unique, mark.handle) == (
                context.job.unique,
                context.job.handle,
            ):
                context.driver.delete_device(device, context.deadline)

    def _left_over(self, context: Context) -> Device | None:
        """What an earlier delivery of this job made and did not answer."""
        if not context.job.unique:
            return None
        for device in context.driver.devices_of_job(
            context.job.unique, context.deadline
        ):
            if context.is_left_over(device.mark) and device.mark:
                context.log.info("takes over device %s", device.name)
                context.driver.mark_device(
                    device,
                    device.mark.taken_over_by(context.job),
                    context.deadline,
                )
                return device
        return None

    def _create(self, context: Context) -> Device:
        return context.driver.create_device(
            new_name(context.ownership.basename),
            context.new_mark(),
            context.deadline,
        )

    def _hand_over(self, device: Device, context: Context) -> None:
        # Before the answer is sent, never after: a device whose client has
        # it must not look like one that nobody owns.
        if context.wanted():
            context.driver.mark_device(
                device, context.new_mark().handed_over(), context.deadline
            )
        else:
            context.log.warning(
                "nobody waits for device %s any more; it is left for the "
                "job's next delivery",
                device.name,
            )

    def _discard(
        self, device: Device, cause: BaseException, context: Context
    ) -> None:
        try:
            context.driver.delete_device(device, Deadline(self.cleanup_time))
        except PoolmgrError as error:
            raise DeviceNotDeleted(
                device.name, cause, error, _answer(device, context)
            ) from cause


def _answer(device: Device, context: Context) -> dict[str, str]:
    basename = context.settings.basename
    return {
        "name": device.name,
        "addr": device.address or "",
        "type": f"basename: {basename}, image: {context.driver.image}",
        "az": context.settings.az,
    }
