"""One question to the cloud for all who ask at the same time."""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Generic, TypeVar

from poolmgr.tracing import RequestContext, bound, current

LOG = logging.getLogger(__name__)

V = TypeVar("V")

Ask = Callable[[Collection[str]], Awaitable[Sequence[V]]]


class _Question(Generic[V]):
    """A question, and all who wait for its answer.

    :ivar keys: what is asked for
    :ivar askers: how many wait
    :ivar context: what the question is asked for
    :ivar contexts: what its askers work for
    """

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.askers = 0
        self.context: RequestContext | None = None
        self.contexts: list[RequestContext] = []
        self.answer: asyncio.Future[Sequence[V]] = (
            asyncio.get_running_loop().create_future()
        )
        self.task: asyncio.Task[None] | None = None


class Lookups(Generic[V]):
    """Collects keys while a question is under way, and asks for them at once.

    The question is asked after each of its keys was given, so an answer is
    never older than the call of :meth:`get` that returns it.

    :param ask: takes keys, returns what there is of all of them
    :param key_of: the key that a thing in the answer belongs to
    :param slow: seconds after which a question without an answer does not
        delay the next one
    """

    def __init__(
        self,
        ask: "Ask[V]",
        key_of: Callable[[V], str | None],
        slow: float,
    ) -> None:
        self._ask = ask
        self._key_of = key_of
        self._slow = slow
        self._running: _Question[V] | None = None
        self._next: _Question[V] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def get(self, key: str) -> list[V]:
        """Return what there is of a key.

        :raises CloudError: the cloud says no
        """
        question = self._join(key)
        context = current()
        try:
            found = await asyncio.shield(question.answer)
        except asyncio.CancelledError:
            if context is not None:  # what it shared becomes its own
                context.doing = context.doing
                context.trouble = context.trouble
            raise
        finally:
            if context is not None:
                question.contexts.remove(context)
                context.shared = None
            self._leave(question)
        if question.context is not None and question.context is not context:
            # The log of each job leads to what was asked for all of them.
            shared = question.context.request_id
            LOG.debug("looking for %r: for many: %s", key, shared)
        return [each for each in found if self._key_of(each) == key]

    def _join(self, key: str) -> "_Question[V]":
        if self._next is None:
            self._next = _Question()
        question, context = self._next, current()
        question.keys.add(key)
        question.askers += 1
        urgent = context is not None and context.urgent
        if context is not None:
            question.contexts.append(context)
        if question.context is None:
            question.context = context
        elif context is not question.context:
            # It is nobody's in particular: it has an id of its own.
            urgent = urgent or question.context.urgent
            question.context = RequestContext(urgent=urgent)
            for each in question.contexts:
                each.shared = question.context
        if self._running is None:
            self._start_next()
        return question

    def _leave(self, question: "_Question[V]") -> None:
        question.askers -= 1
        if question.askers or question.answer.done():
            return
        if question is self._next:
            self._next = None
        if question.task is not None:
            question.task.cancel()
        if question is self._running:
            self._start_next()

    def _start_next(self) -> None:
        """Ask the next question, as soon as all who come now have joined."""
        self._running = None
        if self._timer is not None:
            self._timer.cancel()
        question = self._next
        if question is None:
            return
        self._running = question
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._slow, self._start_next)
        # In a context of its own, for it may be many askers' question.
        question.task = loop.create_task(
            self._run(question), context=contextvars.Context()
        )

    async def _run(self, question: "_Question[V]") -> None:
        if question is self._next:
            self._next = None
        context = question.context or RequestContext()
        try:
            with bound(context):
                found = await self._ask(sorted(question.keys))
        except asyncio.CancelledError:
            question.answer.cancel()
            raise
        except Exception as error:
            question.answer.set_exception(error)
        else:
            question.answer.set_result(found)
        finally:
            if self._running is question:
                self._start_next()
