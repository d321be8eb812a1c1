"""Creating something once, and deleting it until it is known to be gone."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

from poolmgr.cloud.calls import Calls
from poolmgr.cloud.pace import (
    backoff,
    pause_after,
    pause_before_retry,
    time_limit,
)
from poolmgr.errors import CloudUnavailable, OutcomeUnknown, PoolmgrError
from poolmgr.ownership import Mark
from poolmgr.tracing import RequestContext, bound, current

LOG = logging.getLogger(__name__)

#: Seconds between requests for a change: first and longest pause.
PAUSES = 0.1, 2.0
#: How often something is asked for of which there is no trace.
_MOST_REQUESTS = 3


class _Resource(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def mark(self) -> Mark | None: ...


T = TypeVar("T", bound=_Resource)


@dataclass(eq=False)
class Creation(Generic[T]):
    """Something that is created once, whatever becomes of the answers.

    A request whose answer is lost may have had its effect, or have it later:
    so what it made is looked for before the request is repeated.  When nobody
    waits for the resource any more, what was made of it is deleted; unless its
    job was abandoned, for then another worker may have found it.

    :param calls: calls the driver
    :param what: the resource's name, for the log
    :param create: requests it; takes the ``note`` of :meth:`Calls.ask`
    :param find: finds what such requests have made
    :param delete: deletes one of these
    """

    calls: Calls
    what: str
    create: Callable[..., Awaitable[T]]
    find: Callable[[], Awaitable[Sequence[T]]]
    delete: Callable[[T], Awaitable[None]]

    def __post_init__(self) -> None:
        self._context = current() or RequestContext()
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
        self._is_over, self._kept = True, made.id
        self._made.pop(made.id, None)
        if self._is_lost:  # it may have its effect yet
            self.calls.own(self._clean_up())
        return made

    async def _create(self) -> T:
        pace, unknown = self.calls.pace, OutcomeUnknown()
        pauses = backoff(pace.look_first, pace.look_longest)
        for pause in islice(pauses, _MOST_REQUESTS):
            try:
                return await self.create(note=self._note)
            except OutcomeUnknown as error:
                unknown = error
            LOG.warning("%s; checking whether it was created", unknown)
            await pause_before_retry(unknown, max(pause, pause_after(unknown)))
            for resource in (*self._made.values(), *await self.find()):
                LOG.info("%s was made", self.what)
                return resource
        raise unknown

    def _note(self, resource: T | None) -> None:
        """Take note of an answer; it may come when all is over."""
        if resource is not None and resource.id == self._kept:
            return
        if resource is None:
            self._is_lost = True
        else:
            self._made[resource.id] = resource
        if self._is_over:
            LOG.warning("%s may have been created after all", self.what)
            self.calls.own(self._clean_up())

    async def _wait_for_clean_up(self, error: BaseException) -> None:
        """Wait until nothing is left, through one cancel in all."""
        task = self.calls.own(self._clean_up())
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not isinstance(error, asyncio.CancelledError):
                await asyncio.shield(task)
            raise

    async def _clean_up(self) -> None:
        """Delete what was made, but for the one that is kept."""
        context = RequestContext(request_id=self._context.request_id)
        deleted = {self._kept}
        try:
            with bound(context):
                async with time_limit(context, self.calls.pace.clean_up):
                    # What is known first: a cloud that cannot be read may
                    # still delete.
                    while self._made:
                        id_, resource = self._made.popitem()
                        deleted.add(id_)
                        await self._discard(resource)
                    for resource in await self.find() if self._is_lost else ():
                        if resource.id not in deleted:
                            await self._discard(resource)
        except PoolmgrError as error:
            LOG.warning("%s may still exist: %s", self.what, error)

    async def _discard(self, resource: T) -> None:
        taken = resource.mark is not None and resource.mark.taken > 0
        if taken or self._context.abandoned:
            # Another worker has it, or may have it.
            LOG.warning("%s is left: %s", self.what, resource.id)
            return
        LOG.info("deleting %s: nobody waits for it", self.what)
        left = "" if self._kept else "there was no time"
        self._context.left = left
        try:
            await self.delete(resource)
        except PoolmgrError as error:
            LOG.warning("%s is left: %s", self.what, error)
            self._context.left = left and str(error)
        else:
            self._context.left = ""


async def delete_until_gone(
    calls: Calls,
    what: str,
    request: Callable[[], Awaitable[bool]],
    is_shown: Callable[[], Awaitable[bool]],
    goes: Callable[[], Awaitable[bool]] | None = None,
) -> None:
    """Delete something, and wait until it is gone.

    The cloud's word alone does not do.  Of Nova: a server without a cell is
    listed and answers 404 to DELETE, one whose cell is down is in no list, and
    a new one may not be shown yet.

    :param what: the resource's name, for the log
    :param request: requests it; tells whether the cloud has such a resource
    :param is_shown: tells whether it is to be seen
    :param goes: tells whether it is soon not to be seen any more; None for
        what is deleted at once
    :raises CloudUnavailable: the cloud says that there is no such resource,
        and shows it
    """
    loop = asyncio.get_running_loop()
    end, accepted = loop.time() + calls.pace.out_of_sight, False
    for pause in backoff(*PAUSES):
        if await request():
            accepted = True
            if goes is None or await goes():
                return
        elif accepted:
            return
        elif loop.time() > end:
            if await is_shown():
                raise CloudUnavailable(
                    f"the cloud says that {what} does not exist, but still "
                    "shows it"
                )
            return
        LOG.info("%s is still there", what)
        await asyncio.sleep(pause)
