"""BUILD_DEVICE."""

from collections.abc import Mapping
from dataclasses import replace

from poolmgr.actions.base import Action, Context, NoFields
from poolmgr.drivers.base import Device
from poolmgr.errors import (
    CloudUnavailable,
    DeadlineExceeded,
    DeviceNotDeleted,
    PoolmgrError,
    Stopped,
)
from poolmgr.identity import Mark, new_name
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
            self._delete_others(device, context)
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
        found = [
            device
            for device in context.driver.devices_of_job(
                context.job.unique, context.deadline
            )
            if context.is_left_over(device.mark) and device.status != "failed"
        ]
        if not found:
            return None
        device = min(found, key=lambda device: device.status)  # active first
        context.log.info("takes over device %s", device.name)
        return self._taken_over(device, context)

    def _taken_over(self, device: Device, context: Context) -> Device:
        if device.mark is None or device.status != "active":
            return device  # it is marked when it is handed over
        mark = device.mark.taken_over_by(context.job)
        context.driver.mark_device(device, mark, context.deadline)
        return replace(device, mark=mark)

    def _create(self, context: Context) -> Device:
        mark = context.new_mark()
        name = new_name(context.ownership.basename)
        try:
            return context.driver.create_device(name, mark, context.deadline)
        except (CloudUnavailable, DeadlineExceeded, Stopped):
            # Nobody knows what the cloud made of it.
            self._sweep(name, context)
            raise

    def _sweep(self, name: str, context: Context) -> None:
        """Delete what a creation may have made that nobody heard of."""
        deadline = Deadline(self.cleanup_time)
        try:
            for device in context.driver.find_devices(name, deadline):
                context.driver.delete_device(device, deadline)
        except PoolmgrError as error:
            context.log.warning("device %s may be left: %s", name, error)

    def _delete_others(self, device: Device, context: Context) -> None:
        """Delete what this very delivery has made besides.

        A worker that was killed in the middle of a creation may have made a
        device that was not to be seen yet when the job came here.
        """
        mark = device.mark
        if mark is None or not mark.unique:
            return
        for other in context.driver.devices_of_job(
            mark.unique, context.deadline
        ):
            if other.id != device.id and _same_delivery(other.mark, mark):
                context.log.warning("deletes device %s, too", other.name)
                context.driver.delete_device(other, context.deadline)

    def _hand_over(self, device: Device, context: Context) -> None:
        # Before the answer is sent, never after: a device whose client has
        # it must not look like one that nobody owns.
        if context.wanted():
            made = device.mark or context.new_mark()
            mark = made.taken_over_by(context.job).handed_over()
            context.driver.mark_device(device, mark, context.deadline)
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


def _same_delivery(mark: Mark | None, ours: Mark) -> bool:
    return (
        mark is not None
        and mark.state == "building"
        and (mark.pool, mark.unique, mark.handle)
        == (ours.pool, ours.unique, ours.handle)
    )


def _answer(device: Device, context: Context) -> dict[str, str]:
    basename = context.settings.basename
    return {
        "name": device.name,
        "addr": device.address or "",
        "type": f"basename: {basename}, image: {context.driver.image}",
        "az": context.settings.az,
    }
