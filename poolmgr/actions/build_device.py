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
from poolmgr.text import one_line
from poolmgr.waiting import Deadline

#: Seconds that deleting what a job has made besides may take, at most.
_OTHERS_TIME = 15.0


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

    def __init__(self) -> None:
        #: The mark with which the device was handed over.
        self._given: Mark | None = None

    def run(self, request: NoFields, context: Context) -> Mapping[str, str]:
        """See :meth:`Action.run`."""
        left = self._left_over(context)
        if left and left[0].status != "failed":
            device, mark = self._taken_over(left[0], context)
        else:
            device, mark = self._create(context)
        try:
            device = context.driver.wait_for_device(device, context.deadline)
            self._delete_others(device, left, context)
            self._hand_over(device, mark, context)
        except BaseException as error:
            self._discard(device, error, context)
            raise
        return _answer(device, context)

    def undo(self, answer: Mapping[str, str], context: Context) -> None:
        """Delete the device, unless another delivery has taken it over."""
        for device in self._handed_over(answer, context):
            context.driver.delete_device(device, context.deadline)

    def undelivered(
        self, answer: Mapping[str, str], sent: bool, context: Context
    ) -> None:
        """Mark the device, unless another delivery has taken it over."""
        for device in self._handed_over(answer, context):
            mark = device.mark
            assert mark is not None  # noqa: S101 - it is what we gave
            context.driver.mark_device(
                device,
                mark.unconfirmed() if sent else mark.withdrawn(),
                context.deadline,
            )

    def _handed_over(
        self, answer: Mapping[str, str], context: Context
    ) -> list[Device]:
        """The device as this delivery has handed it over; else nothing."""
        given = self._given
        if given is None:
            return []
        found = context.driver.find_devices(answer["name"], context.deadline)
        return [device for device in found if given.is_still(device.mark)]

    def _left_over(self, context: Context) -> list[Device]:
        """What earlier deliveries of this job made and did not answer.

        :returns: the best first: those that are active
        """
        if not context.job.unique:
            return []
        found = [
            device
            for device in context.driver.devices_of_job(
                context.job.unique, context.deadline
            )
            if context.is_left_over(device.mark)
        ]
        best = ("active", "building", "failed").index
        return sorted(found, key=lambda device: best(device.status))

    def _taken_over(
        self, device: Device, context: Context
    ) -> tuple[Device, Mark]:
        context.log.info("takes over device %s", one_line(device.name))
        mark = device.mark or context.new_mark()
        mark = mark.taken_over_by(context.job)
        # Clouds mark no device that boots; it is when it is handed over.
        if device.status == "active":
            context.driver.mark_device(device, mark, context.deadline)
            device = replace(device, mark=mark)
        return device, mark

    def _create(self, context: Context) -> tuple[Device, Mark]:
        mark = context.new_mark()
        name = new_name(context.ownership.basename)
        create = context.driver.create_device
        try:
            return create(name, mark, context.deadline), mark
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

    def _delete_others(
        self, device: Device, left: list[Device], context: Context
    ) -> None:
        """Delete what this job has made besides; not at the device's cost.

        A worker that was killed in the middle of a creation may have made a
        device that was not to be seen yet when the job came here.

        :param left: what was to be seen then
        """
        mark = device.mark
        if mark is None or not mark.unique:
            return
        seconds = min(_OTHERS_TIME, context.deadline.remaining() / 2)
        deadline = Deadline(seconds, context.deadline.stop)
        before = {each.id for each in left}
        try:
            for other in context.driver.devices_of_job(mark.unique, deadline):
                if other.id != device.id and _is_spare(
                    other.mark, mark, other.id in before
                ):
                    context.log.warning(
                        "deletes device %s, too", one_line(other.name)
                    )
                    context.driver.delete_device(other, deadline)
        except Stopped:
            raise
        except PoolmgrError as error:
            context.log.warning("another device may be left: %s", error)

    def _hand_over(self, device: Device, mark: Mark, context: Context) -> None:
        # Before the answer is sent, never after: a device whose client has
        # it must not look like one that nobody owns.
        if context.wanted():
            self._given = mark.handed_over()
            context.driver.mark_device(device, self._given, context.deadline)
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


def _is_spare(mark: Mark | None, ours: Mark, was_left: bool) -> bool:
    """Whether a device was made for the same job and never answered.

    One that came meanwhile may be of a delivery that is still at it, if that
    is not this one.
    """
    return (
        mark is not None
        and mark.is_left
        and (mark.pool, mark.unique) == (ours.pool, ours.unique)
        and (was_left or mark.handle == ours.handle)
    )


def _answer(device: Device, context: Context) -> dict[str, str]:
    basename = context.settings.basename
    return {
        "name": device.name,
        "addr": device.address or "",
        "type": f"basename: {basename}, image: {context.driver.image}",
        "az": context.settings.az,
    }
