"""Calls of an action's methods: on the loop, or on a thread."""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from poolmgr.actions.base import Action
from poolmgr.actions.context import BlockingContext, Context, Run
from poolmgr.cloud import BlockingCloud, Cloud
from poolmgr.errors import PoolmgrError
from poolmgr.foreign import is_interrupt

T = TypeVar("T")

#: Makes a result of what was returned, or else of what was raised.
Settle = Callable[[object, BaseException | None], T]


class ActionCaller:
    """Calls the methods of one object of an action.

    :param action: the action's class
    :param run: what it runs for
    :param cloud: the cloud
    """

    def __init__(
        self, action: type[Action[Any]], run: Run, cloud: Cloud
    ) -> None:
        self._action = action
        self._run = run
        self._cloud = cloud
        self._object: Action[Any] | None = None

    async def call(
        self,
        name: str,
        *args: object,
        settle: Settle[T],
        late: Callable[[], PoolmgrError],
    ) -> T:
        """Call a method.

        A cancel reaches an ``async def`` as usual, and a plain ``def`` as an
        error of its call of the cloud.

        :param settle: makes the result of what the method returns, or raises;
            called with what it raises itself, too
        :param late: makes that error
        """
        if inspect.iscoroutinefunction(getattr(self._action, name)):
            return await self._await(name, args, settle)
        loop = asyncio.get_running_loop()
        cloud = BlockingCloud(self._cloud, loop)
        context = BlockingContext(self._run, cloud, loop)

        def work() -> T:
            # All of the plugin's code runs here: its words may never end.
            try:
                returned = getattr(self._made(), name)(*args, context)
                return settle(returned, None)
            except BaseException as raised:
                return settle(None, raised)

        done = _in_thread(work, f"poolmgr-{self._action.__name__}")
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            cloud.interrupt(late())
            return await asyncio.shield(done)

    async def _await(
        self, name: str, args: tuple[object, ...], settle: Settle[T]
    ) -> T:
        context = Context(self._run, self._cloud)
        try:
            returned = await getattr(self._made(), name)(*args, context)
            return settle(returned, None)
        except BaseException as raised:
            cancelled = isinstance(raised, asyncio.CancelledError)
            if is_interrupt(raised) or (cancelled and _is_cancelled()):
                raise
            return settle(None, raised)

    def _made(self) -> Action[Any]:
        if self._object is None:
            self._object = self._action()
        return self._object


def _is_cancelled() -> bool:
    """Whether the running task was cancelled; a plugin may only say so."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _in_thread(work: Callable[[], T], name: str) -> "asyncio.Future[T]":
    """Have a thread of its own do some work, in our context.

    The thread is a daemon: work that never returns holds up nobody, not even
    the end of the process.

    :param work: must not raise
    :param name: the thread's name
    :returns: has what the work returns
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        result = context.run(work)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(set_result, result)

    def set_result(result: T) -> None:
        if not future.done():
            future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
