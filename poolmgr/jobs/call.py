"""Calls of an action's methods: on the loop, or on a thread."""

import asyncio
import contextvars
import inspect
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from poolmgr.actions.base import Action
from poolmgr.actions.context import BlockingContext, Context, Run
from poolmgr.cloud import BlockingCloud, Cloud
from poolmgr.errors import PluginFailed, PoolmgrError, Stopped
from poolmgr.foreign import told

LOG = logging.getLogger(__name__)


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
        self._doing = f"action {action.__name__}"

    async def call(self, name: str, *args: object) -> Any:
        """Call a method; a plain ``def`` runs on a thread of its own.

        A cancel reaches an ``async def`` as usual, and a plain ``def`` as an
        error of its call of the cloud.

        :raises PoolmgrError: whatever the method raised
        """
        if inspect.iscoroutinefunction(getattr(self._action, name)):
            return await self._await(name, args)
        loop = asyncio.get_running_loop()
        cloud = BlockingCloud(self._cloud, loop)
        context = BlockingContext(self._run, cloud)

        def work() -> Any:
            try:
                return getattr(self._made(), name)(*args, context)
            except BaseException as error:
                return _Raised(known(error, self._doing))

        done = _in_thread(work, f"poolmgr-{self._action.__name__}")
        try:
            result = await asyncio.shield(done)
        except asyncio.CancelledError:
            cloud.interrupt(self._run.error or Stopped(self._doing))
            result = await asyncio.shield(done)
        if isinstance(result, _Raised):
            raise result.error
        return result

    async def _await(self, name: str, args: tuple[object, ...]) -> Any:
        context = Context(self._run, self._cloud)
        try:
            return await getattr(self._made(), name)(*args, context)
        except BaseException as error:
            # A plugin may raise a CancelledError of its own.
            task = asyncio.current_task()
            if (
                isinstance(error, asyncio.CancelledError)
                and task is not None
                and task.cancelling()
            ):
                raise
            failure = known(error, self._doing)
        raise failure

    def _made(self) -> Action[Any]:
        if self._object is None:
            self._object = self._action()
        return self._object


class _Raised:
    """What a method on a thread has raised.

    A future cannot take all exceptions: StopIteration, CancelledError and
    SystemExit mean something else to it or to the loop.
    """

    def __init__(self, error: PoolmgrError) -> None:
        self.error = error


def known(error: BaseException, doing: str) -> PoolmgrError:
    """Return the error itself if it is one of ours, else one that names it.

    :param doing: what was being done, for the log
    """
    # Not isinstance(): an object can lie about its class.
    if issubclass(type(error), PoolmgrError):
        return error  # type: ignore[return-value]
    try:
        LOG.error("%s failed unexpectedly", doing, exc_info=error)
    except BaseException:  # its traceback, too, is made by a plugin
        LOG.error("%s failed unexpectedly, and cannot be shown", doing)
    failure = PluginFailed(f"{doing}: {told(error)}")
    failure.__cause__ = error
    return failure


def _in_thread(work: Callable[[], Any], name: str) -> "asyncio.Future[Any]":
    """Have a thread of its own do some work, in our context.

    The thread is a daemon: work that never returns holds up nobody, not even
    the end of the process.

    :param work: must not raise
    :param name: the thread's name
    :returns: has what the work returns
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        result = context.run(work)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(set_result, result)

    def set_result(result: Any) -> None:
        if not future.done():
            future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
