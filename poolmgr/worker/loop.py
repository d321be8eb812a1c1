"""An event loop whose end no task can hold up."""

import asyncio
import logging
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: What the process ends with when a callback of its own has failed.
EXIT_DEFECT = 1
#: Seconds that tasks have to end once they are cancelled.
_END_TIME = 1.0


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, as :func:`asyncio.run` does.

    That waits for ever for a task that does not end when it is cancelled, as
    a plugin's may; here such a task is left.
    """
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(_cancel_tasks())
        # Of those that are left nobody needs to hear.
        loop.set_exception_handler(lambda loop, context: None)
        loop.close()


async def _cancel_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_END_TIME)


def end_on_defects() -> None:
    """Have a callback that fails end the process from now on.

    It would lack something until somebody notices.  What supervises it starts
    it again, and its jobs go to another worker at once.
    """

    def handle(
        loop: asyncio.AbstractEventLoop, context: dict[str, Any]
    ) -> None:
        loop.default_exception_handler(context)
        # Only what was called by the loop itself has one: what breaks in a
        # connection costs that connection.
        if "handle" in context:
            LOG.critical(
                "a callback has died, which is a defect of poolmgr: "
                "stopping at once"
            )
            os._exit(EXIT_DEFECT)

    asyncio.get_running_loop().set_exception_handler(handle)
