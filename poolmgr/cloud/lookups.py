"""Look-ups that several jobs share."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from poolmgr.cloud.calls import Calls
from poolmgr.drivers.verbs import Verb, name_of
from poolmgr.tracing import RequestContext, bound, current

LOG = logging.getLogger(__name__)

V = TypeVar("V")

#: Seconds that a look-up waits for the one before it to end.
_LOOKUP_TIMEOUT = 2.0


@dataclass(eq=False)
class _SharedLookup(Generic[V]):
    """Keys that one request looks up.

    :ivar context: the context of the request
    :ivar keys: the keys
    :ivar waiting: number of callers that wait for the result
    :ivar task: makes the request
    """

    context: RequestContext
    keys: set[str] = field(default_factory=set)
    waiting: int = 0
    task: asyncio.Task[Sequence[V]] = field(init=False)


class Lookups(Generic[V]):
    """Looks resources up by a key, many keys in one request.

    Keys that are asked for while a request is in flight are collected for the
    next one.  So a result is never older than the call of :meth:`get`.

    :param calls: calls the driver
    :param verb: takes keys and returns the resources of all of them
    :param key_of: returns the key that a resource belongs to
    """

    def __init__(
        self,
        calls: Calls,
        verb: Verb[Sequence[V]],
        key_of: Callable[[V], str | None],
    ) -> None:
        self._calls = calls
        self._verb = verb
        self._key_of = key_of
        self._next: _SharedLookup[V] | None = None
        self._last: asyncio.Task[Sequence[V]] | None = None

    async def get(self, key: str) -> list[V]:
        """Return the resources that belong to a key.

        :raises CloudError: the cloud refuses
        """
        context = current() or RequestContext()
        batch = self._next
        # A batch that nobody waits for is cancelled.
        if batch is None or not batch.waiting:
            batch = self._next = self._start_batch(context)
        batch.keys.add(key)
        batch.waiting += 1
        shared = batch.context
        shared.urgent |= context.urgent
        if shared.request_id != context.request_id:
            LOG.debug("looking for %r: with %s", key, shared.request_id)
        driver = name_of(self._calls.driver)
        context.doing = f"waiting for {driver}: {self._verb.name}"
        try:
            found = await asyncio.shield(batch.task)
        finally:
            batch.waiting -= 1
            if not batch.waiting:
                batch.task.cancel()  # nobody needs the result
            context.trouble = shared.trouble or context.trouble
        return [each for each in found if self._key_of(each) == key]

    def _start_batch(self, context: RequestContext) -> _SharedLookup[V]:
        # The cloud's log has the request id of the first job.
        shared = RequestContext(request_id=context.request_id)
        batch: _SharedLookup[V] = _SharedLookup(shared)
        previous = self._last

        async def look_up() -> Sequence[V]:
            if previous is not None:
                # A request that hangs delays the next one only for a moment.
                await asyncio.wait([previous], timeout=_LOOKUP_TIMEOUT)
            # A key that comes from now on needs a newer result.
            self._next = None
            with bound(shared):
                return await self._calls.ask(self._verb, sorted(batch.keys))

        # In a context of its own, because it is for several jobs.
        batch.task = self._last = asyncio.get_running_loop().create_task(
            look_up(), context=contextvars.Context()
        )
        return batch
