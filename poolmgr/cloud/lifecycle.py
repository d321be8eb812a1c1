"""Creating a resource once, and deleting it until it is gone."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from poolmgr.cloud.calls import Calls
from poolmgr.cloud.pace import backoff, pause_before_retry, time_limit
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.errors import CloudUnavailable, OutcomeUnknown, PoolmgrError
from poolmgr.tracing import RequestContext, bound, current

LOG = logging.getLogger(__name__)

#: Seconds between requests for a change: first and longest pause.
PAUSES = 0.1, 2.0
#: Seconds before each search for what a request may have created: lists lag.
_SEARCH_PAUSES = 2.0, 4.0, 5.0

T = TypeVar("T", bound=Device | FloatingIP)


@dataclass(eq=False)
class Creation(Generic[T]):
    """The creation of one resource.

    A request whose answer is lost may take effect, even later.  So before the
    request is repeated, its result is searched for.  In the end everything
    but the result is deleted, unless the job was abandoned: then another
    worker may have found it.

    :param calls: calls the driver
    :param what: the resource, for the log
    :param create: requests it; takes ``on_created`` of :meth:`Calls.ask`
    :param find: lists what such requests have created
    :param delete: deletes one resource
    """

    calls: Calls
    what: str
    create: Callable[..., Awaitable[T]]
    find: Callable[[], Awaitable[Sequence[T]]]
    delete: Callable[[T], Awaitable[None]]

    def __post_init__(self) -> None:
        self._context = current() or RequestContext()
        self._created: dict[str, T] = {}
        self._is_unknown = False  # whether a request has created something
        self._has_ended = False
        self._result = ""  # the id of the resource that is kept

    async def run(self) -> T:
        """Create the resource.

        :raises OutcomeUnknown: it may have been created, but is not found
        :raises CloudError: the cloud refuses
        """
        try:
            result = await self._create()
        except BaseException:
            self._has_ended = True
            if self._created or self._is_unknown:
                # A second cancel ends the wait, but not the clean-up.
                await asyncio.shield(self.calls.own(self._clean_up()))
            raise
        self._has_ended, self._result = True, result.id
        # An earlier request may have taken effect, too.
        if self._is_unknown or len(self._created) > 1:
            self.calls.own(self._clean_up())
        return result

    async def _create(self) -> T:
        for pause in _SEARCH_PAUSES:
            try:
                return await self.create(on_created=self._note)
            except OutcomeUnknown as error:
                unknown = error
            LOG.warning("%s; checking whether it was created", unknown)
            await pause_before_retry(unknown, pause)
            # A result may have come after its call was given up.
            for resource in (*self._created.values(), *await self.find()):
                LOG.info("%s was created", self.what)
                return resource
        raise unknown

    def _note(self, resource: T | None) -> None:
        """Note the result of a request, which may come late."""
        if resource is not None and resource.id == self._result:
            return
        if resource is None:
            self._is_unknown = True
        else:
            self._created[resource.id] = resource
        if self._has_ended:
            LOG.warning("%s may have been created after all", self.what)
            self.calls.own(self._clean_up())

    async def _clean_up(self) -> None:
        """Delete the resources that were created, except the result."""
        context = RequestContext(request_id=self._context.request_id)
        try:
            with bound(context):
                async with time_limit(context, self.calls.pace.clean_up):
                    # Known resources first, because a cloud that cannot list
                    # them may still delete them.
                    # Not a loop over them: late results are added meanwhile.
                    while self._created:
                        await self._discard(self._created.popitem()[1])
                    found = await self.find() if self._is_unknown else ()
                    for resource in found:
                        await self._discard(resource)
        # The reaper deletes what is left.
        except PoolmgrError as error:
            LOG.warning("%s may still exist: %s", self.what, error)

    async def _discard(self, resource: T) -> None:
        if resource.id == self._result:
            return
        taken = resource.mark is not None and resource.mark.taken > 0
        if taken or self._context.abandoned:
            # Another worker has it, or may have it.
            LOG.warning("%s is kept: %s", self.what, resource.id)
            return
        LOG.info("deleting %s: its job has ended", self.what)
        await self.delete(resource)


async def delete_until_gone(
    calls: Calls,
    what: str,
    request: Callable[[], Awaitable[bool]],
    is_gone: Callable[[], Awaitable[bool]],
    at_once: bool = False,
) -> None:
    """Delete a resource and wait until it is gone.

    One answer of the cloud is not enough.  Nova lists a server without a cell
    but answers 404 to its DELETE; it does not list a server whose cell is
    down; and it may not show a new server yet.

    :param what: the resource, for the log
    :param request: requests the deletion; returns False if the cloud does not
        know the resource
    :param is_gone: waits until the cloud does not show the resource; returns
        False if that takes too long
    :param at_once: whether the resource is gone when the request is answered
    :raises CloudUnavailable: the cloud does not know the resource, but still
        shows it
    """
    loop = asyncio.get_running_loop()
    end, accepted = loop.time() + calls.pace.out_of_sight, False
    for pause in backoff(*PAUSES):
        if await request():
            accepted = True
            if at_once or await is_gone():
                return
        elif accepted:
            return
        elif loop.time() > end:
            if await is_gone():
                return
            raise CloudUnavailable(
                f"the cloud says that {what} does not exist, but still "
                "shows it"
            )
        LOG.info("%s is still there", what)
        await asyncio.sleep(pause)
