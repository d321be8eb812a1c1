"""What an action does about a PASS that its client has not had."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from poolmgr.actions.context import Run
from poolmgr.errors import DeadlineExceeded
from poolmgr.foreign import words_of
from poolmgr.jobs.call import ActionCaller
from poolmgr.jobs.outcome import known
from poolmgr.text import one_line
from poolmgr.tracing import bound

#: Seconds that seeing to an answer nobody had may take.
AFTERWARDS_TIME = 60.0


class Afterwards:
    """Takes back what a PASS made, or notes that its answer may be lost.

    :param run: the run that passed
    :param caller: calls its action
    :param start_task: runs a coroutine, and waits for it before closing
    :ivar undo_failed: whether something that was to be undone is left
    """

    def __init__(
        self,
        run: Run,
        caller: ActionCaller,
        start_task: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.undo_failed = False
        self._run = run
        self._caller = caller
        self._start_task = start_task

    def undo(self, added: Mapping[str, Any]) -> None:
        """Have the action take back what it made."""
        self._run.log.warning("its answer was not wanted; undoing it")
        self.undo_failed = True
        self._start("undoing an answer", "undo", added)

    def undelivered(self, added: Mapping[str, Any], sent: bool) -> None:
        """Have the action note that the answer may not have arrived."""
        # Where it was not sent, the loss of the connection has been told.
        self._run.log.log(
            logging.WARNING if sent else logging.INFO,
            "the link broke %s its answer was sent",
            "just after" if sent else "before",
        )
        doing = "noting that its answer was not delivered"
        self._start(doing, "undelivered", added, sent)

    def _start(self, doing: str, name: str, *args: object) -> None:
        with bound(self._run.trace):
            self._start_task(self._call(doing, name, args))

    async def _call(
        self, doing: str, name: str, args: tuple[object, ...]
    ) -> None:
        late = DeadlineExceeded(doing, AFTERWARDS_TIME)

        def settle(_returned: object, raised: BaseException | None) -> None:
            if raised is None:
                self.undo_failed = False
                return
            words = one_line(words_of(known(raised, doing)))
            self._run.log.error("%s failed: %s", doing, words)

        self._run.renew(AFTERWARDS_TIME)
        try:
            async with asyncio.timeout(AFTERWARDS_TIME) as limit:
                await self._caller.call(
                    name, *args, settle=settle, late=lambda: late
                )
        except TimeoutError:
            if not limit.expired():
                raise
            settle(None, late)
