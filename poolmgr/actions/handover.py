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
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from poolmgr.actions.base import Context, RequestT
from poolmgr.actions.thing import ThingAction, ThingT
from poolmgr.errors import (
    Changed,
    DeviceFailed,
    DeviceNotDeleted,
    PoolmgrError,
)
from poolmgr.ownership import Mark
from poolmgr.tracing import current

#: Seconds that deleting what a job has made besides may take, at most.
_OTHERS_TIME = 15.0
#: The same, when the job fails, perhaps because the cloud is down.
_OTHERS_TIME_OF_FAIL = 5.0
#: Seconds that looking whose a thing is may take, before it is deleted.
_LOOK_TIME = 2.0


class CreatingAction(ThingAction[RequestT, ThingT]):
    """An action that makes one thing for each job."""

    def __init__(self) -> None:
        #: The mark with which the thing was handed over.
        self._given: Mark | None = None
        #: The mark with which this run has made its thing.
        self._made: Mark | None = None

    async def run(
        self, request: RequestT, context: Context
    ) -> Mapping[str, Any]:
        """See :meth:`Action.run`."""
        pause = 0.1
        while True:
            left = await self._left_over(context)
            try:
                thing = await self._obtain(request, left, context)
                break
            except Changed as error:
                # Another delivery is not done with it.
                context.log.info("%s; looking again", error)
                if (trace := current()) is not None:
                    trace.trouble = error
            except BaseException as error:
                kept = (
                    error.name if isinstance(error, DeviceNotDeleted) else ""
                )
                await self._delete_others(
                    kept, left, _OTHERS_TIME_OF_FAIL, context
                )
                raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2.0)
        # Only now, so that a next delivery takes this one and not another
        # that is about to go.
        seconds = min(_OTHERS_TIME, context.remaining() / 2)
        await self._delete_others(thing.id, left, seconds, context)
        return self.answer(thing, context)

    async def undo(self, answer: Mapping[str, Any], context: Context) -> None:
        """Delete the thing, unless another delivery has taken it over."""
        for thing in await self._handed_over(answer, context):
            await self.delete(thing, context)

    async def undelivered(
        self, answer: Mapping[str, Any], sent: bool, context: Context
    ) -> None:
        """Mark the thing, unless another delivery has taken it over."""
        for thing in await self._handed_over(answer, context):
            assert thing.mark is not None  # noqa: S101 - it is what we gave
            mark = thing.mark.unconfirmed() if sent else thing.mark.withdrawn()
            try:
                await self.write_mark(thing, mark, context)
            except Changed as error:
                context.log.info("%s; it is left as it is", error)

    async def _handed_over(
        self, answer: Mapping[str, Any], context: Context
    ) -> list[ThingT]:
        """The thing as this run has handed it over; else nothing."""
        given = self._given
        if given is None:
            return []
        found = await self.find_answered(answer, context)
        return [thing for thing in found if given.is_still(thing.mark)]

    async def _left_over(self, context: Context) -> list[ThingT]:
        """What earlier deliveries made and did not answer, the best first."""
        if not context.job.unique:
            return []
        found = await self.find_of_job(context)
        left = [each for each in found if context.is_left_over(each.mark)]
        return sorted(left, key=self.rank)

    async def _obtain(
        self, request: RequestT, left: list[ThingT], context: Context
    ) -> ThingT:
        """Get a thing that is ready and handed over."""
        found = await self._from_left_over(left, context)
        thing, mark = found or await self.make(request, context)
        async with self._discarding(thing, context):
            await self._hand_over(thing, mark, context)
        return thing

    async def _from_left_over(
        self, left: list[ThingT], context: Context
    ) -> tuple[ThingT, Mark] | None:
        if not left:
            return None
        try:
            thing, mark = await self.take_over(left[0], context)
            context.log.info("takes over %s", self.name(thing))
            return await self._prepared(thing, context), mark
        except DeviceFailed as error:
            context.log.warning("%s; building another", error)
            return None

    async def make(
        self, request: RequestT, context: Context
    ) -> tuple[ThingT, Mark]:
        """Make the thing and wait until it is ready.

        :returns: the thing, and the mark that it was made with
        """
        thing = await self.create(request, context)
        mark = self._made = thing.mark or context.new_mark()
        return await self._prepared(thing, context), mark

    async def _prepared(self, thing: ThingT, context: Context) -> ThingT:
        async with self._discarding(thing, context):
            return await self.wait_ready(thing, context)

    async def _hand_over(
        self, thing: ThingT, mark: Mark, context: Context
    ) -> None:
        # Before the answer is sent, never after: what a client has must not
        # look like what nobody owns.  And not from birth: a worker that is
        # killed while the cloud creates it may leave what the next delivery
        # cannot see yet.
        if context.close():
            # As it is: the next delivery may have handed it over by now.
            context.log.info(
                "nobody waits for %s any more; it is left for the job's next "
                "delivery",
                self.name(thing),
            )
            return
        self._given = mark.handed_over()
        if self._given != thing.mark:
            await self.write_mark(thing, self._given, context)

    @asynccontextmanager
    async def _discarding(
        self, thing: ThingT, context: Context
    ) -> AsyncIterator[None]:
        """Delete the thing if the block fails.

        Not if another delivery has it, or may have it because this run's
        deliveries were all lost.
        """
        try:
            yield
        except BaseException as error:
            cause = context.error or error
            if isinstance(error, Changed):
                pass  # another delivery has it
            elif context.abandoned:
                await self._leave(thing, context)
            else:
                await self._discard(thing, cause, context)
            raise

    async def _leave(self, thing: ThingT, context: Context) -> None:
        """Leave the thing to the job's next delivery."""
        context.log.warning("%s is left", self.name(thing))
        if self._given is None:
            return
        # It may say by now that a client has it; and none will.
        try:
            async with context.limit(_LOOK_TIME):
                answer = self.answer(thing, context)
                await self.undelivered(answer, False, context)
        except PoolmgrError as error:
            context.log.warning("%s: %s", self.name(thing), error)

    async def _discard(
        self, thing: ThingT, cause: BaseException, context: Context
    ) -> None:
        """Delete what cannot be handed over."""
        try:
            if await self._is_anothers(thing, context):
                context.log.warning(
                    "%s is left: another delivery has taken it over",
                    self.name(thing),
                )
                return
            async with context.limit(self.cleanup_time):
                await self.delete(thing, context)
        except PoolmgrError as why:
            error = self.not_deleted(thing, cause, why, context)
            if error is not None:
                raise error from cause
            context.log.warning("%s is left: %s", self.name(thing), why)

    async def _is_anothers(self, thing: ThingT, context: Context) -> bool:
        """Whether another worker is known to have taken the thing over.

        The job server may have noticed before we do that our connection is
        gone.

        :param thing: as it was when we last wrote on it or read it
        """
        before = thing.mark
        try:
            async with context.limit(_LOOK_TIME):
                answer = self.answer(thing, context)
                found = await self.find_answered(answer, context)
        except PoolmgrError:
            return False  # a cloud that cannot be read may still delete
        for now in found:
            if now.id == thing.id and now.mark is not None and before:
                ours = self._given is not None and self._given.is_still(
                    now.mark
                )
                return not ours and now.mark.taken != before.taken
        return False

    async def _delete_others(
        self, kept: str, left: list[ThingT], seconds: float, context: Context
    ) -> None:
        """Delete what this job has made besides; not at the thing's cost.

        A worker that was killed may have made a thing that was not to be seen
        yet when the job came here.

        :param kept: id or name of the thing that the answer has
        :param left: what was to be seen when the job came here
        """
        if not context.job.unique or context.abandoned:
            return
        before = {each.id: each.mark for each in left}
        try:
            async with context.limit(seconds):
                for other in await self.find_of_job(context):
                    named = other.id, getattr(other, "name", None)
                    if kept not in named and self.is_spare(
                        other, before.get(other.id), context
                    ):
                        name = self.name(other)
                        context.log.warning("deletes %s, too", name)
                        await self.delete(other, context)
        except asyncio.CancelledError:
            # What is handed over has to be answered all the same.
            context.log.info("another may be left: %s", context.error)
        except PoolmgrError as error:
            context.log.warning("another may be left: %s", error)
