"""Creating something once, although the answer may be lost or come late."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar

from poolmgr.cloud.calls import pause_before_retry
from poolmgr.cloud.pace import Pace, backoff, pause_after
from poolmgr.cloud.runner import Witness
from poolmgr.errors import CloudUnavailable, OutcomeUnknown, PoolmgrError
from poolmgr.foreign import words_of
from poolmgr.ownership import Mark
from poolmgr.tracing import RequestContext, bound

LOG = logging.getLogger(__name__)

#: How often something is asked for of which there is no trace.
_MOST_REQUESTS = 3
#: Looks for what a request may have made, before it is made again.
_LOOKS = 3


class _Thing(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def mark(self) -> Mark | None: ...


T = TypeVar("T", bound=_Thing)


class Creation(Generic[T]):
    """Something that is created once, whatever becomes of the answers.

    A request whose answer is lost may have had its effect, or have it later:
    so what it made is looked for before the request is repeated.  When nobody
    waits for the thing any more, what was made of it is deleted; unless its
    job was abandoned, for then another worker may have found it.

    :param what: its name, for the log
    :param context: what it is made for
    :param pace: the times of waiting
    :param request: makes the request once, and tells the :class:`Witness`
        that it is given of what comes of it
    :param find: finds what such requests have made
    :param delete: deletes one of these
    :param own: has a clean-up run in a task that nobody cancels
    """

    def __init__(
        self,
        what: str,
        context: RequestContext,
        pace: Pace,
        request: "Callable[[Witness[T]], Awaitable[T]]",
        find: Callable[[], Awaitable[Sequence[T]]],
        delete: Callable[[T], Awaitable[None]],
        own: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._what = what
        self._context = context
        self._pace = pace
        self._request = request
        self._find = find
        self._delete = delete
        self._own = own
        self._requests = 0
        self._made: dict[str, T] = {}
        self._is_lost = False
        self._is_over = False
        self._kept = ""

    async def run(self) -> T:
        """Create it.

        :raises OutcomeUnknown: it did not work, and there is no trace of it
        :raises CloudError: the cloud says no
        """
        try:
            made = await self._create()
        except BaseException as error:
            # The last request has ended, unless this is a second cancel.
            self._is_over = True
            if self._made or self._is_lost:
                await self._wait_for_clean_up(error)
            raise
        self._is_over = True
        self._kept = made.id
        if self._requests > 1:
            self._own(self._clean_up())
        return made

    def arrived(self, thing: T) -> None:
        """Take note of an answer; it may come when all is over."""
        if thing.id == self._kept:
            return
        self._made[thing.id] = thing
        if self._is_over:
            LOG.warning("%s was made after all", self._what)
            self._own(self._clean_up())

    def lost(self) -> None:
        """Take note that a request may have had its effect."""
        self._is_lost = True
        if self._is_over:
            self._own(self._clean_up())

    async def _create(self) -> T:
        for attempt in range(1, _MOST_REQUESTS + 1):
            try:
                return await self._ask()
            except OutcomeUnknown as error:
                self._context.trouble = error
                LOG.warning("%s; looking whether it was made", error)
                found = await self._look(error)
                if found is not None:
                    return found
                if attempt == _MOST_REQUESTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _ask(self) -> T:
        """Make the request until there is an answer, or may be none."""
        pauses = backoff(self._pace.retry_first, self._pace.retry_longest)
        self._requests += 1
        while True:
            try:
                made = await self._request(self)
            except OutcomeUnknown:
                raise
            except CloudUnavailable as error:  # and nothing was made
                self._context.trouble = error
                pause = max(next(pauses), pause_after(error))
                await pause_before_retry(self._context, pause, error)
            else:
                self._context.trouble = None
                return made

    async def _look(self, error: OutcomeUnknown) -> T | None:
        """Return what a lost request has made, None if there is no trace.

        :raises OutcomeUnknown: there is no time to look
        """
        pause = pause_after(error)
        pauses = backoff(self._pace.look_first, self._pace.look_longest)
        for _look in range(_LOOKS):
            await pause_before_retry(self._context, pause, error)
            for thing in (*self._made.values(), *await self._find()):
                LOG.info("%s was made", self._what)
                return thing
            pause = next(pauses)
        return None

    async def _wait_for_clean_up(self, error: BaseException) -> None:
        """Wait until nothing is left, through one cancel in all."""
        task = self._own(self._clean_up())
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not isinstance(error, asyncio.CancelledError):
                await asyncio.shield(task)
            raise

    async def _clean_up(self) -> None:
        """Delete what was made, but for the one that is kept."""
        seconds = self._pace.clean_up
        end = asyncio.get_running_loop().time() + seconds
        context = RequestContext(request_id=self._context.request_id, end=end)
        try:
            with bound(context):
                await self._delete_all(seconds)
        except TimeoutError:
            LOG.warning("%s may be left: there was no time", self._what)

    async def _delete_all(self, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            things = await self._all_made()
            for thing in things.values():
                await self._discard(thing)

    async def _all_made(self) -> dict[str, T]:
        # A cloud that cannot be read may still delete.
        seconds = self._pace.look_time if self._made else None
        try:
            async with asyncio.timeout(seconds):
                found = await self._find()
        except (PoolmgrError, TimeoutError) as error:
            LOG.warning("%s may be left: %s", self._what, words_of(error))
            found = ()
        things = {**self._made, **{thing.id: thing for thing in found}}
        self._made.clear()
        things.pop(self._kept, None)
        return things

    async def _discard(self, thing: T) -> None:
        taken = thing.mark is not None and thing.mark.taken > 0
        if taken or self._context.abandoned:
            # Another worker has it, or may have it.
            LOG.warning("%s is left: %s", self._what, thing.id)
            return
        LOG.info("deletes %s, which nobody waits for", self._what)
        if not self._kept:
            self._context.left = (self._what, "there was no time")
        try:
            await self._delete(thing)
        except PoolmgrError as error:
            LOG.warning("%s is left: %s", self._what, words_of(error))
            if not self._kept:
                self._context.left = (self._what, words_of(error))
        else:
            self._context.left = None
