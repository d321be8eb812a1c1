"""One question to the cloud for all who ask at the same time."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from poolmgr.cloud.calls import Calls
from poolmgr.drivers.verbs import Verb, name_of
from poolmgr.tracing import RequestContext, bound, current, new_request_id

LOG = logging.getLogger(__name__)

V = TypeVar("V")


class _Question(Generic[V]):
    """A question, and all who wait for its answer.

    :ivar keys: what is asked for
    :ivar askers: how many wait
    :ivar context: what the question is asked for
    :ivar task: has the answer
    """

    task: asyncio.Task[Sequence[V]]

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.askers = 0
        self.context = RequestContext()

    def join(self, key: str, context: RequestContext) -> None:
        """Ask for a key, too."""
        self.keys.add(key)
        self.askers += 1
        self.context.urgent |= context.urgent
        # What is asked for many has an id of its own.
        self.context.request_id = (
            context.request_id if self.askers == 1 else new_request_id()
        )

    def leave(self, context: RequestContext) -> None:
        """Wait no longer; a question that nobody waits for is not asked."""
        self.askers -= 1
        if not self.askers:
            self.task.cancel()
        # What it shared becomes its own: whoever ended the wait says it.
        context.doing = self.context.doing or context.doing
        context.trouble = self.context.trouble or context.trouble


class Lookups(Generic[V]):
    """Collects keys while a question is under way, and asks for them at once.

    The question is asked after each of its keys was given, so an answer is
    never older than the call of :meth:`get` that returns it.

    :param calls: calls the driver
    :param verb: takes keys, returns what there is of all of them
    :param key_of: the key that a thing in the answer belongs to
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
        self._next: _Question[V] | None = None
        self._last: asyncio.Task[Sequence[V]] | None = None

    async def get(self, key: str) -> list[V]:
        """Return what there is of a key.

        :raises CloudError: the cloud says no
        """
        question = self._next
        if question is None:
            question = self._next = _Question()
            # In a context of its own, for it may be many askers' question.
            question.task = self._last = (
                asyncio.get_running_loop().create_task(
                    self._run(question, self._last),
                    context=contextvars.Context(),
                )
            )
        context = current() or RequestContext()
        question.join(key, context)
        driver = name_of(self._calls.driver)
        context.doing = f"waiting for {driver}: {self._verb.name}"
        try:
            found = await asyncio.shield(question.task)
        finally:
            question.leave(context)
            if not question.askers and self._next is question:
                self._next = None
        if question.context.request_id != context.request_id:
            # The log of each job leads to what was asked for all of them.
            shared = question.context.request_id
            LOG.debug("looking for %r: for many: %s", key, shared)
        return [each for each in found if self._key_of(each) == key]

    async def _run(
        self,
        question: _Question[V],
        before: asyncio.Task[Sequence[V]] | None,
    ) -> Sequence[V]:
        if before is not None:
            # One that is stuck delays the next for a moment only.
            seconds = self._calls.pace.lookup_slow
            await asyncio.wait([before], timeout=seconds)
        self._next = None
        with bound(question.context):
            return await self._calls.ask(self._verb, sorted(question.keys))
