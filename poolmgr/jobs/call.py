"""Calls of an action's methods: on the loop, or on a thread."""

import asyncio
import inspect
import logging
from typing import Any

from poolmgr.actions.base import Action
from poolmgr.actions.context import BlockingContext, Context, Run
from poolmgr.cloud import BlockingCloud, Cloud
from poolmgr.cloud.pool import CallPool
from poolmgr.errors import PluginFailed, PoolmgrError, Stopped
from poolmgr.foreign import log_defect, told

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
        try:
            if inspect.iscoroutinefunction(getattr(self._action, name)):
                context = Context(self._run, self._cloud)
                return await getattr(self._made(), name)(*args, context)
            return await self._call_on_thread(name, args)
        except BaseException as error:
            # A plugin may raise a CancelledError of its own.
            task = asyncio.current_task()
            cancelled = task is not None and task.cancelling() > 0
            if cancelled and isinstance(error, asyncio.CancelledError):
                raise
            failure = known(error, self._doing)
        raise failure

    async def _call_on_thread(
        self, name: str, args: tuple[object, ...]
    ) -> Any:
        cloud = BlockingCloud(self._cloud, asyncio.get_running_loop())
        context = BlockingContext(self._run, cloud)
        thread = CallPool(1)
        done = thread.submit(
            lambda: getattr(self._made(), name)(*args, context)
        )
        thread.close()  # it ends with its work
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            cloud.interrupt(self._run.error or Stopped(self._doing))
            return await asyncio.shield(done)

    def _made(self) -> Action[Any]:
        if self._object is None:
            self._object = self._action()
        return self._object


def known(error: BaseException, doing: str) -> PoolmgrError:
    """Return the error itself if it is one of ours, else one that names it.

    :param doing: what was being done, for the log
    """
    # Not isinstance(): an object can lie about its class.
    if issubclass(type(error), PoolmgrError):
        return error  # type: ignore[return-value]
    log_defect(LOG, doing, error)
    failure = PluginFailed(f"{doing}: {told(error)}")
    failure.__cause__ = error
    return failure
