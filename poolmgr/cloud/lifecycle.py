"""Creating something once, and deleting it until it is known to be gone."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from poolmgr.cloud.calls import Calls, pause_before_retry
from poolmgr.cloud.lookups import Lookups
from poolmgr.cloud.pace import backoff, pause_after
from poolmgr.cloud.poller import Poller
from poolmgr.drivers import verbs
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.drivers.verbs import Verb
from poolmgr.errors import CloudUnavailable, OutcomeUnknown, PoolmgrError
from poolmgr.foreign import words_of
from poolmgr.ownership import Mark
from poolmgr.tracing import RequestContext, bound, current

LOG = logging.getLogger(__name__)

#: Seconds between requests for a change: first and longest pause.
PAUSES = 0.1, 2.0
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

    :param calls: calls the driver
    :param what: the thing's name, for the log
    :param create: the verb that creates it
    :param args: what that takes
    :param find: the verb that finds what such requests have made
    :param sought: what that takes
    :param delete: deletes one of these
    """

    def __init__(
        self,
        calls: Calls,
        what: str,
        create: Verb[T],
        args: tuple[object, ...],
        find: Verb[Sequence[T]],
        sought: tuple[object, ...],
        delete: Callable[[T], Awaitable[None]],
    ) -> None:
        self._calls = calls
        self._pace = calls.pace
        self._context = current() or RequestContext()
        self._what = what
        self._create, self._args = create, args
        self._find, self._sought = find, sought
        self._delete = delete
        self._made: dict[str, T] = {}
        self._is_lost = False
        self._is_over = False
        self._kept = ""

    async def run(self, max_wait: float) -> T:
        """Create it.

        :param max_wait: seconds to wait for room in the cloud, at most
        :raises OutcomeUnknown: it did not work, and there is no trace of it
        :raises CloudError: the cloud says no
        """
        try:
            made = await self._ask(max_wait)
        except BaseException as error:
            # The last request has ended, unless this is a second cancel.
            self._is_over = True
            if self._made or self._is_lost:
                await self._wait_for_clean_up(error)
            raise
        self._is_over = True
        self._kept = made.id
        self._made.pop(made.id, None)
        if self._is_lost:
            self._calls.own(self._clean_up())
        return made

    async def _ask(self, max_wait: float) -> T:
        until = asyncio.get_running_loop().time() + max_wait
        for attempt in range(1, _MOST_REQUESTS + 1):
            try:
                return await self._calls.ask(
                    self._create,
                    *self._args,
                    room_until=until,
                    note=self._note,
                )
            except OutcomeUnknown as error:
                LOG.warning("%s; checking whether it was created", error)
                found = await self._look(error)
                if found is not None:
                    return found
                if attempt == _MOST_REQUESTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _note(self, thing: T | None) -> None:
        """Take note of an answer; it may come when all is over."""
        if thing is None:
            self._is_lost = True
        elif thing.id == self._kept:
            return
        else:
            self._made[thing.id] = thing
        if self._is_over:
            LOG.warning("%s may have been made after all", self._what)
            self._calls.own(self._clean_up())

    async def _look(self, error: OutcomeUnknown) -> T | None:
        """Return what a lost request has made, None if there is no trace.

        :raises OutcomeUnknown: there is no time to look
        """
        pause = pause_after(error)
        pauses = backoff(self._pace.look_first, self._pace.look_longest)
        for _look in range(_LOOKS):
            await pause_before_retry(error, pause)
            for thing in (*self._made.values(), *await self._found()):
                LOG.info("%s was made", self._what)
                return thing
            pause = next(pauses)
        return None

    async def _found(self) -> Sequence[T]:
        return await self._calls.ask(self._find, *self._sought)

    async def _wait_for_clean_up(self, error: BaseException) -> None:
        """Wait until nothing is left, through one cancel in all."""
        task = self._calls.own(self._clean_up())
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
                async with asyncio.timeout(seconds):
                    await self._delete_all()
        except (PoolmgrError, TimeoutError) as error:
            why = words_of(error) or "there was no time"
            LOG.warning("%s may still exist: %s", self._what, why)

    async def _delete_all(self) -> None:
        # What is known first: a cloud that cannot be read may still delete.
        deleted = {self._kept}
        while self._made:
            id_, thing = self._made.popitem()
            deleted.add(id_)
            await self._discard(thing)
        for thing in await self._found() if self._is_lost else ():
            if thing.id not in deleted:
                await self._discard(thing)

    async def _discard(self, thing: T) -> None:
        taken = thing.mark is not None and thing.mark.taken > 0
        if taken or self._context.abandoned:
            # Another worker has it, or may have it.
            LOG.warning("%s is left: %s", self._what, thing.id)
            return
        LOG.info("deleting %s: nobody waits for it", self._what)
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


async def delete_device(calls: Calls, poller: Poller, device: Device) -> None:
    """Delete a device, and wait until it is gone.

    The cloud's word alone does not do.  Of Nova: a server without a cell is
    listed and answers 404 to DELETE, one whose cell is down is in no list, and
    a new one may not be shown yet.

    :raises CloudUnavailable: the cloud says that there is no such device,
        and shows it
    """
    loop = asyncio.get_running_loop()
    accepted = False
    end: float | None = None
    for pause in backoff(*PAUSES):
        if await calls.ask(verbs.DELETE_DEVICE, device):
            accepted = True
            if await _goes(calls, poller, device):
                return
        elif accepted:
            return
        elif end is None:
            end = loop.time() + calls.pace.out_of_sight
        elif loop.time() > end:
            if not await _is_in_sight(calls, device):
                return
            raise CloudUnavailable(
                f"the cloud says that there is no device {device.name!r} to "
                "delete, and still shows it"
            )
        LOG.info("device %s is still there", device.name)
        await asyncio.sleep(pause)


async def _goes(calls: Calls, poller: Poller, device: Device) -> bool:
    """Tell whether a device is soon neither listed nor shown any more."""
    id_, context = device.id, current() or RequestContext()
    try:
        async with asyncio.timeout(calls.pace.delete_again) as limit:
            while True:
                context.doing = f"deleting device {device.name!r}"
                seen = await poller.news(device)
                if seen is not None:
                    device = seen
                elif await calls.ask(verbs.GET_DEVICE, id_) is None:
                    return True
    except TimeoutError:
        if not limit.expired():
            raise
        return False


async def _is_in_sight(calls: Calls, device: Device) -> bool:
    """Tell whether the cloud shows a device, or lists it."""
    if await calls.ask(verbs.GET_DEVICE, device.id) is not None:
        return True
    poll = await calls.ask(verbs.POLL, (device,))
    return device.id in {*poll.unchanged, *(seen.id for seen in poll.seen)}


async def delete_ip(
    calls: Calls, by_address: Lookups[FloatingIP], ip: FloatingIP
) -> None:
    """Give a floating IP back.

    :raises CloudUnavailable: the cloud says that there is no such floating
        IP, and still lists it
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + calls.pace.out_of_sight
    missed = False
    for pause in backoff(*PAUSES):
        if await calls.ask(verbs.DELETE_IP, ip):
            return
        listed = await by_address.get(ip.address)
        if any(each.id == ip.id for each in listed):
            missed = False
        elif missed:
            return
        else:
            missed = True  # a list can have holes
        if loop.time() > end:
            break
        await asyncio.sleep(pause)
    raise CloudUnavailable(
        f"the cloud says that there is no floating IP {ip.address} to "
        "delete, and still lists it"
    )
