"""Actions that create something: one resource for each job, and no orphans.

A job can be delivered several times, because its worker may die or lose its
connection.  So the creating call marks the resource with the job; the action
first looks for what earlier deliveries left; the mark becomes "handed over"
right before the answer, never after; then the job's others are deleted.

:class:`CreatingAction` does all this.  A subclass says how to create, find,
mark and delete the resource.
"""

import abc
import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from poolmgr import errors
from poolmgr.actions.base import Action, Context, RequestT
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.ownership import Mark, time_now

#: Seconds before another look at the resources of the job.
_PAUSE = 1.0
#: Time limit in seconds for deleting other resources of the job.
_OTHERS_TIME = 5.0
#: Time limit in seconds for reading or marking a resource during clean-up.
_READ_TIME = 2.0

ResourceT = TypeVar("ResourceT", bound=Device | FloatingIP)


class CreatingAction(Action[RequestT], Generic[RequestT, ResourceT]):
    """An action that creates one device or floating IP for each job.

    :ivar context: the context of the run
    """

    context: Context

    def __init__(self) -> None:
        self._began = time_now()
        #: The resource, and the mark with which it was handed over.
        self._handed_over: tuple[ResourceT, Mark] | None = None

    @abc.abstractmethod
    async def create(self, request: RequestT) -> ResourceT:
        """Create the resource, with the mark ``self.context.new_mark()``.

        It need not be ready.
        """

    @abc.abstractmethod
    async def find_of_job(self) -> Sequence[ResourceT]:
        """List the resources whose mark has the unique of the job.

        Those that a client already uses may be left out.
        """

    @abc.abstractmethod
    async def reread(self, resource: ResourceT) -> ResourceT | None:
        """Return the resource as it is now, or None if it is gone."""

    @abc.abstractmethod
    async def write_mark(self, resource: ResourceT, mark: Mark) -> None:
        """Replace the mark of the resource.

        :raises Changed: somebody else has replaced it since the resource was
            read
        """

    @abc.abstractmethod
    async def delete(self, resource: ResourceT) -> None:
        """Delete the resource and wait until it is gone."""

    @abc.abstractmethod
    def answer(self, resource: ResourceT) -> dict[str, Any]:
        """Return the fields that the action adds to the answer."""

    @abc.abstractmethod
    def name(self, resource: ResourceT) -> str:
        """Return kind and name of a resource for the log: "device x"."""

    async def wait_ready(self, resource: ResourceT) -> ResourceT:
        """Wait until the resource can be handed over.

        :returns: the resource as it is then
        :raises DeviceFailed: it will not be ready
        """
        return resource

    def not_deleted(
        self,
        resource: ResourceT,
        cause: BaseException,
        why: errors.PoolmgrError,
    ) -> None:
        """Handle a resource that could not be deleted.

        :param cause: the reason of the FAIL, for which it was deleted
        :param why: why the deletion failed
        """
        name = self.name(resource)
        self.context.log.warning("cannot delete %s: %s", name, why)

    async def run(
        self, request: RequestT, context: Context
    ) -> Mapping[str, Any]:
        """See :meth:`Action.run`."""
        self.context = context
        while True:
            leftovers = await self._find_leftovers()
            try:
                resource = await self._obtain(request, leftovers)
                break
            except errors.Changed as error:
                # Another delivery is not done with it.
                context.failing(error)
                context.log.info("%s; looking again", error)
            except errors.DeviceNotDeleted:
                raise  # the answer names it
            except BaseException as error:
                if not (leftovers and isinstance(error, errors.DeviceFailed)):
                    await self._delete_others(None, leftovers, error)
                    raise
                context.log.warning("%s; creating another one", error)
            await asyncio.sleep(_PAUSE)
        # Only now, so that the next delivery takes over this resource and not
        # one that is about to be deleted.
        await self._delete_others(resource, leftovers)
        return self.answer(resource)

    async def undo(self, answer: Mapping[str, Any], context: Context) -> None:
        """Delete the resource, unless another delivery has it."""
        if (resource := await self._still_handed_over()) is not None:
            await self.delete(resource)

    async def undelivered(
        self, answer: Mapping[str, Any], sent: bool, context: Context
    ) -> None:
        """Mark the resource, unless another delivery has it."""
        resource = await self._still_handed_over()
        if resource is None or resource.mark is None:
            return
        mark = resource.mark
        try:
            await self.write_mark(
                resource, mark.unconfirmed() if sent else mark.withdrawn()
            )
        except errors.Changed as error:
            context.log.info("%s; keeping it", error)

    async def _still_handed_over(self) -> ResourceT | None:
        """Return the resource if it still has the mark of this run."""
        if self._handed_over is None:
            return None
        resource, mark = self._handed_over
        now = await self.reread(resource)
        return now if now is not None and mark.is_still(now.mark) else None

    async def _find_leftovers(self) -> list[ResourceT]:
        """List the resources of earlier deliveries that were not answered."""
        job, pool = self.context.job, self.context.settings.pool
        found = await self.find_of_job() if job.unique else ()
        leftovers = [x for x in found if x.mark and x.mark.is_of(pool, job)]
        # Handed over first: its worker may have been deleting the others.
        leftovers.sort(key=lambda x: x.mark is None or x.mark.is_left)
        return leftovers

    async def _obtain(
        self, request: RequestT, leftovers: list[ResourceT]
    ) -> ResourceT:
        """Take over or create a resource, wait for it, and hand it over."""
        context = self.context
        if leftovers:
            resource = leftovers[0]
            mark = resource.mark or context.new_mark()
            context.log.info("taking over %s", self.name(resource))
            final_mark = mark.taken_over_by(context.job).handed_over()
        else:
            resource = await self.create(request)
            final_mark = (resource.mark or context.new_mark()).handed_over()
        try:
            resource = await self.wait_ready(resource)
            # Before the answer is sent, so that the resource of a client never
            # looks like an orphan. Not earlier, because a worker that is
            # killed may leave a resource that its successor does not see yet.
            if context.close():
                # The next delivery may have handed it over by now.
                context.log.info("keeping %s", self.name(resource))
                return resource
            self._handed_over = resource, final_mark
            if resource.mark != final_mark:
                await self.write_mark(resource, final_mark)
        except errors.Changed:
            self._handed_over = None  # another delivery has it
            raise
        except BaseException as error:
            await self._delete_or_keep(resource, context.error or error)
            raise
        return resource

    async def _delete_or_keep(
        self, resource: ResourceT, cause: BaseException
    ) -> None:
        """Delete the resource, unless another delivery has or may have it."""
        context, name = self.context, self.name(resource)
        try:
            if context.abandoned:
                context.log.warning("keeping %s", name)
                # Its mark may say "handed over", but no client will get it.
                async with context.limit(_READ_TIME):
                    await self.undelivered({}, False, context)
            elif await self._was_taken_over(resource):
                context.log.warning("keeping %s for another delivery", name)
            else:
                # After a cancel, the run answers at the end of this time.
                seconds = context.remaining() if context.error else math.inf
                async with context.limit(min(self.cleanup_time, seconds)):
                    await self.delete(resource)
        except errors.PoolmgrError as why:
            if context.abandoned:
                context.log.warning("%s: %s", name, why)
            else:
                self.not_deleted(resource, cause, why)

    async def _was_taken_over(self, resource: ResourceT) -> bool:
        """Return whether another worker has taken over the resource.

        The job server may notice a lost connection before this worker does.

        :param resource: as this worker last read or wrote it
        """
        try:
            async with self.context.limit(_READ_TIME):
                now = await self.reread(resource)
        except errors.PoolmgrError:
            return False  # a cloud that cannot be read may still delete
        if now is None or now.mark is None or resource.mark is None:
            return False
        ours = self._handed_over
        is_ours = ours is not None and ours[1].is_still(now.mark)
        return not is_ours and now.mark.taken != resource.mark.taken

    async def _delete_others(
        self,
        kept: ResourceT | None,
        leftovers: list[ResourceT],
        cause: BaseException | None = None,
    ) -> None:
        """Delete other resources of this job.

        :param kept: the resource in the answer; None for a FAIL
        :param leftovers: the resources that were found when the run began
        :param cause: the reason of the FAIL
        """
        context, other = self.context, None
        if not context.job.unique or context.abandoned:
            return
        before = {each.id: each.mark for each in leftovers}
        seconds = min(_OTHERS_TIME, context.remaining() / 2)
        try:
            async with context.limit(seconds):
                for other in await self.find_of_job():
                    is_kept = kept is not None and other.id == kept.id
                    was = before.get(other.id)
                    if not is_kept and self._is_spare(other.mark, was):
                        name = self.name(other)
                        context.log.warning("also deleting %s", name)
                        await self.delete(other)
        except (errors.PoolmgrError, asyncio.CancelledError) as error:
            # A resource that was handed over is answered in any case.
            why = context.error or error
            context.log.warning("another may still exist: %s", why)
            if cause and other and isinstance(error, errors.PoolmgrError):
                self.not_deleted(other, context.error or cause, error)

    def _is_spare(self, mark: Mark | None, before: Mark | None) -> bool:
        """Return whether a resource of this job can be deleted, once the job
        has another one.

        A resource that was handed over under the job's handle was not
        answered, or the job would not have been delivered again.  But this
        worker may have lost its connection without noticing.  Then a later
        delivery may use what was created or taken over after this run began.

        :param mark: the resource's mark, of this job
        :param before: its mark when this run began; None if it was not seen
        """
        if mark is None or mark.pool != self.context.settings.pool:
            return False
        if mark == self.context.new_mark():
            return True  # this run has created it
        if mark.taken != (before.taken if before else 0):
            return False
        if before is not None and mark.is_left:
            return True
        same = bool(mark.handle) and mark.handle == self.context.job.handle
        return same and mark.made <= self._began
