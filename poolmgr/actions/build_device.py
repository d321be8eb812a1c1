"""BUILD_DEVICE."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from poolmgr.actions.base import Action, Context, NoFields
from poolmgr.drivers.base import Device, Driver
from poolmgr.errors import (
    CloudUnavailable,
    DeadlineExceeded,
    DeviceFailed,
    DeviceNotDeleted,
    PoolmgrError,
    QuotaExceeded,
    Stopped,
)
from poolmgr.ownership import Mark, new_name
from poolmgr.text import one_line
from poolmgr.waiting import Deadline

#: Seconds that deleting what a job has made besides may take, at most.
_OTHERS_TIME = 15.0
#: The same, when the job fails, perhaps because the cloud is down.
_OTHERS_TIME_OF_FAIL = 5.0
#: Seconds that looking whose a device is may take, before it is deleted.
_LOOK_TIME = 2.0
#: What clients are told of: the cloud has taken it on, it has booted, and, by
#: the answer itself, it is handed over.
_STAGES = 3
#: States in which an earlier delivery may still be at it.
_NOT_ANSWERED = ("building", "handed over")


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
        try:
            built = self._from_left_over(left, context) or self._anew(context)
            device, mark = built
            with self._discarding(device, context):
                self._hand_over(device, mark, context)
                # Then, so that a next delivery takes this one and not
                # another that is about to go.
                seconds = min(_OTHERS_TIME, context.deadline.remaining() / 2)
                deadline = Deadline(seconds, context.deadline.stop)
                self._delete_others(device.id, mark, left, deadline, context)
        except BaseException as error:
            kept = error.name if isinstance(error, DeviceNotDeleted) else ""
            deadline = Deadline(_OTHERS_TIME_OF_FAIL)
            self._delete_others(kept, None, left, deadline, context)
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

    def _from_left_over(
        self, left: list[Device], context: Context
    ) -> tuple[Device, Mark] | None:
        """The best of what was left, ready; None if that came to nothing."""
        if not left or left[0].status == "failed":
            return None
        try:
            device, mark = self._taken_over(left[0], context)
            return self._booted(device, context), mark
        except DeviceFailed as error:
            context.log.warning("%s; building another", error)
            return None

    def _anew(self, context: Context) -> tuple[Device, Mark]:
        """A device that is ready."""
        boots = context.capacity.boots
        with boots.turn(context.deadline, context.patience):
            device, mark = self._create(context)
            return self._booted(device, context), mark

    def _left_over(self, context: Context) -> list[Device]:
        """What earlier deliveries of this job made and did not answer.

        :returns: the best first: those that are active, and of these those
            that were handed over
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

        def order(device: Device) -> tuple[int, bool]:
            given = device.mark is not None and not device.mark.is_left
            return best(device.status), not given

        return sorted(found, key=order)

    def _taken_over(
        self, device: Device, context: Context
    ) -> tuple[Device, Mark]:
        """Say on the device whose it is now.

        :returns: the device, and the mark to hand it over with
        """
        context.log.info("takes over device %s", one_line(device.name))
        before = device.mark or context.new_mark()
        mark = before.taken_over_by(context.job)
        # Clouds mark no device that boots; it is when it is handed over.
        if (
            device.status == "active"
            and before.state in _NOT_ANSWERED
            and not context.forsaken()
        ):
            # Its state stays: if this worker is killed, the write may take
            # effect only when the next has handed the device over.
            taken = replace(mark, state=before.state)
            context.driver.mark_device(device, taken, context.deadline)
            device = replace(device, mark=taken)
        return device, mark

    def _create(self, context: Context) -> tuple[Device, Mark]:
        end = time.monotonic() + context.patience
        while True:
            patience = max(0.0, end - time.monotonic())
            try:
                with context.capacity.devices.turn(context.deadline, patience):
                    return self._create_now(context)
            except QuotaExceeded:
                if not (patience and context.capacity.devices.patient):
                    raise

    def _create_now(self, context: Context) -> tuple[Device, Mark]:
        mark = context.new_mark()
        name = new_name(context.ownership.basename)
        create = context.driver.create_device
        try:
            return create(name, mark, context.deadline), mark
        except (CloudUnavailable, DeadlineExceeded, Stopped) as error:
            if not error.nothing_made:
                # Nobody knows what the cloud made of it.
                self._sweep(name, error, context)
            raise

    def _booted(self, device: Device, context: Context) -> Device:
        with self._discarding(device, context):
            context.report(1, _STAGES)
            try:
                ready = context.driver.wait_for_device(
                    device, context.deadline
                )
                context.report(2, _STAGES)
                return ready
            except QuotaExceeded as error:
                # Of its own floating IP: the next one gets none, either.
                context.capacity.boots.blame(str(error))
                raise

    @contextmanager
    def _discarding(self, device: Device, context: Context) -> Iterator[None]:
        """Delete the device if the block fails.

        Not if the job's deliveries were all lost: then the job may be with
        another worker, and that one have taken the device over.
        """
        try:
            yield
        except BaseException as error:
            if context.forsaken():
                context.log.warning("device %s is left", one_line(device.name))
            else:
                self._discard(device, error, context)
            raise

    def _sweep(self, name: str, cause: PoolmgrError, context: Context) -> None:
        """Delete what a creation may have made that nobody heard of.

        :raises DeviceNotDeleted: there is something, and it stays
        """
        if context.forsaken():
            return  # another worker may have found it
        deadline = Deadline(self.cleanup_time)
        try:
            found = context.driver.find_devices(name, deadline)
        except PoolmgrError as error:
            context.log.warning("device %s may be left: %s", name, error)
            return
        for device in found:
            if device.mark is None or not device.mark.taken:
                self._discard(device, cause, context)

    def _delete_others(
        self,
        kept: str,
        made: Mark | None,
        left: list[Device],
        deadline: Deadline,
        context: Context,
    ) -> None:
        """Delete what this job has made besides; not at the device's cost.

        A worker that was killed may have made a device that was not to be
        seen yet when the job came here.

        :param kept: id or name of the device that the answer has
        :param made: the mark that the device was made with
        :param left: what was to be seen when the job came here
        """
        if not context.job.unique or context.forsaken():
            return
        before = {each.id: each.mark for each in left}
        try:
            for other in context.driver.devices_of_job(
                context.job.unique, deadline.patiently()
            ):
                if kept not in (other.id, other.name) and (
                    other.mark == made
                    or context.is_spare(other.mark, before.get(other.id))
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
            if self._given != device.mark:
                # A device that says whose it is can wait for those that are
                # not made yet: they have to boot.
                deadline = context.deadline
                if device.mark == mark:
                    deadline = deadline.patiently()
                context.driver.mark_device(device, self._given, deadline)
        else:
            # As it is: the next delivery may have handed it over by now.
            context.log.info(
                "nobody waits for device %s any more; it is left for the "
                "job's next delivery",
                device.name,
            )

    def _discard(
        self, device: Device, cause: BaseException, context: Context
    ) -> None:
        deadline = Deadline(self.cleanup_time)
        try:
            if self._is_anothers(device, context.driver):
                context.log.warning(
                    "device %s is left: another delivery has taken it over",
                    one_line(device.name),
                )
                return
            context.driver.delete_device(device, deadline)
        except PoolmgrError as error:
            raise DeviceNotDeleted(
                device.name, cause, error, _answer(device, context)
            ) from cause

    def _is_anothers(self, device: Device, driver: Driver) -> bool:
        """Whether another worker is known to have taken a device over.

        The job server may have noticed before we do that our link is gone.

        :param device: as it was when we last wrote on it or read it
        """
        before = device.mark
        try:
            found = driver.find_devices(device.name, Deadline(_LOOK_TIME))
        except PoolmgrError:
            return False  # a cloud that cannot be read may still delete
        for now in found:
            if now.id != device.id or now.mark is None or before is None:
                continue
            ours = self._given is not None and self._given.is_still(now.mark)
            return not ours and now.mark.taken != before.taken
        return False


def _answer(device: Device, context: Context) -> dict[str, str]:
    basename = context.settings.basename
    return {
        "name": device.name,
        "addr": device.address or "",
        "type": f"basename: {basename}, image: {context.driver.image}",
        "az": context.settings.az,
    }
