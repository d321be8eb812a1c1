"""The life of a thing that a job makes, from its creation to its hand-over.

A job can be delivered several times: its worker may die, or lose its
connection.  Each job has to end with one thing, and no thing may be left that
nobody owns.  So whatever is made bears a mark with its job from the first
moment; an action looks first for what an earlier delivery left; the mark
becomes "handed over" before the answer is sent, never after; and what was made
besides is deleted then.

:class:`CreatingAction` does all this; an action that makes something describes
its thing to it in the methods of :class:`~poolmgr.actions.thing.ThingAction`.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from poolmgr.actions.base import Context, RequestT
from poolmgr.actions.thing import ThingAction, ThingT
from poolmgr.cloud.pace import backoff
from poolmgr.errors import (
    Changed,
    DeviceFailed,
    DeviceNotDeleted,
    PoolmgrError,
)
from poolmgr.ownership import Mark

#: Seconds that deleting what a job has made besides may take, at most.
_OTHERS_TIME = 15.0
#: The same, when the job fails, perhaps because the cloud is down.
_OTHERS_TIME_OF_FAIL = 5.0
#: Seconds that looking whose a thing is may take, before it is deleted.
_LOOK_TIME = 2.0


class CreatingAction(ThingAction[RequestT, ThingT]):
    """An action that makes one thing for each job."""

    def __init__(self) -> None:
        #: The mark with which this run has made its thing.
        self._made: Mark | None = None
        #: The thing, and the mark with which it was handed over.
        self._given: tuple[ThingT, Mark] | None = None

    async def run(
        self, request: RequestT, context: Context
    ) -> Mapping[str, Any]:
        """See :meth:`Action.run`."""
        self.context = context
        for pause in backoff(0.1, 2.0):
            left = await self._left_over()
            try:
                thing = await self._obtain(request, left)
                break
            except Changed as error:
                # Another delivery is not done with it.
                context.failing(error)
                context.log.info("%s; looking again", error)
            except DeviceNotDeleted:
                raise  # the client is told of it
            except BaseException:
                await self._delete_others(None, left, _OTHERS_TIME_OF_FAIL)
                raise
            await asyncio.sleep(pause)
        # Only now, so that a next delivery takes this one and not another
        # that is about to go.
        seconds = min(_OTHERS_TIME, context.remaining() / 2)
        await self._delete_others(thing, left, seconds)
        return self.answer(thing)

    async def undo(self, answer: Mapping[str, Any], context: Context) -> None:
        """Delete the thing, unless another delivery has taken it over."""
        thing = await self._still_given()
        if thing is not None:
            await self.delete(thing)

    async def undelivered(
        self, answer: Mapping[str, Any], sent: bool, context: Context
    ) -> None:
        """Mark the thing, unless another delivery has taken it over."""
        thing = await self._still_given()
        if thing is None or thing.mark is None:
            return
        mark = thing.mark.unconfirmed() if sent else thing.mark.withdrawn()
        try:
            await self.write_mark(thing, mark)
        except Changed as error:
            context.log.info("%s; it is left as it is", error)

    async def _still_given(self) -> ThingT | None:
        """The thing, if it is as this run has handed it over."""
        if self._given is None:
            return None
        thing, mark = self._given
        now = await self.reread(thing)
        return now if now is not None and mark.is_still(now.mark) else None

    async def _left_over(self) -> list[ThingT]:
        """What earlier deliveries made and did not answer, the best first."""
        if not self.context.job.unique:
            return []
        found = await self.find_of_job()
        left = [each for each in found if self.context.is_left_over(each.mark)]
        return sorted(left, key=self.rank)

    async def _obtain(self, request: RequestT, left: list[ThingT]) -> ThingT:
        """Get a thing that is ready and handed over."""
        if left:
            try:
                thing, mark = await self.take_over(left[0])
                self.context.log.info("takes over %s", self.name(thing))
                return await self._hand_over(thing, mark)
            except DeviceFailed as error:
                self.context.log.warning("%s; building another", error)
        thing = await self.create(request)
        mark = self._made = thing.mark or self.context.new_mark()
        return await self._hand_over(thing, mark)

    async def _hand_over(self, thing: ThingT, mark: Mark) -> ThingT:
        """Wait until the thing is ready, and mark it; else delete it."""
        try:
            thing = await self.wait_ready(thing)
            await self._mark_handed_over(thing, mark)
        except Changed:
            raise  # another delivery has it
        except BaseException as error:
            if self.context.abandoned:
                await self._leave(thing)
            else:
                await self._discard(thing, self.context.error or error)
            raise
        return thing

    async def _mark_handed_over(self, thing: ThingT, mark: Mark) -> None:
        # Before the answer is sent, never after: what a client has must not
        # look like what nobody owns.  And not from birth: a worker that is
        # killed while the cloud creates it may leave what the next delivery
        # cannot see yet.
        if self.context.close():
            # As it is: the next delivery may have handed it over by now.
            self.context.log.info(
                "nobody waits for %s any more; it is left for the job's next "
                "delivery",
                self.name(thing),
            )
            return
        self._given = thing, mark.handed_over()
        if thing.mark != mark.handed_over():
            await self.write_mark(thing, mark.handed_over())

    async def _leave(self, thing: ThingT) -> None:
        """Leave the thing to the job's next delivery."""
        self.context.log.warning("%s is left", self.name(thing))
        # It may say by now that a client has it; and none will.
        try:
            async with self.context.limit(_LOOK_TIME):
                await self.undelivered({}, False, self.context)
        except PoolmgrError as error:
            self.context.log.warning("%s: %s", self.name(thing), error)

    async def _discard(self, thing: ThingT, cause: BaseException) -> None:
        """Delete what cannot be handed over."""
        if await self._is_anothers(thing):
            self.context.log.warning(
                "%s is left: another delivery has taken it over",
                self.name(thing),
            )
            return
        try:
            async with self.context.limit(self.cleanup_time):
                await self.delete(thing)
        except PoolmgrError as why:
            error = self.not_deleted(thing, cause, why)
            if error is not None:
                raise error from cause
            self.context.log.warning("%s is left: %s", self.name(thing), why)

    async def _is_anothers(self, thing: ThingT) -> bool:
        """Whether another worker is known to have taken the thing over.

        The job server may have noticed before we do that our connection is
        gone.

        :param thing: as it was when we last wrote on it or read it
        """
        try:
            async with self.context.limit(_LOOK_TIME):
                now = await self.reread(thing)
        except PoolmgrError:
            return False  # a cloud that cannot be read may still delete
        if now is None or now.mark is None or thing.mark is None:
            return False
        ours = self._given is not None and self._given[1].is_still(now.mark)
        return not ours and now.mark.taken != thing.mark.taken

    async def _delete_others(
        self, kept: ThingT | None, left: list[ThingT], seconds: float
    ) -> None:
        """Delete what this job has made besides; not at the thing's cost.

        A worker that was killed may have made a thing that was not to be seen
        yet when the job came here.

        :param kept: the thing that the answer has
        :param left: what was to be seen when the job came here
        """
        if not self.context.job.unique or self.context.abandoned:
            return
        before = {each.id: each.mark for each in left}
        try:
            async with self.context.limit(seconds):
                for other in await self.find_of_job():
                    is_kept = kept is not None and other.id == kept.id
                    was = before.get(other.id)
                    if not is_kept and self.is_spare(other, was):
                        name = self.name(other)
                        self.context.log.warning("deletes %s, too", name)
                        await self.delete(other)
        except asyncio.CancelledError:
            # What is handed over has to be answered all the same.
            self.context.log.info(
                "another one may still exist: %s", self.context.error
            )
        except PoolmgrError as error:
            self.context.log.warning("another one may still exist: %s", error)
