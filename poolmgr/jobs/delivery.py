"""A delivery of a job: who waits for the answer of a run."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from poolmgr.events import Outcome

LOG = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


class SharedRun(Protocol):
    """A run, as its deliveries need it."""

    undo_failed: bool

    def count_waiters(self) -> None:
        """Note whether anybody waits any more."""

    def cancel_delivery(self, delivery: "Delivery") -> bool:
        """See :meth:`Delivery.cancel`."""

    def undelivered(self, sent: bool, refused: bool = False) -> None:
        """See to an answer that was not delivered."""


class Delivery:
    """One delivery of a job, which waits for the answer of a run.

    :ivar future: has the outcome, never an exception.  To cancel it is to
        cancel the delivery.
    :ivar lost: whether its answer cannot be delivered any more
    """

    __slots__ = ("_progress", "_run", "future", "lost")

    def __init__(self, run: SharedRun, progress: Progress | None) -> None:
        loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Outcome] = loop.create_future()
        self.future.add_done_callback(self._cancel_with)
        self.lost = False
        self._run = run
        self._progress = progress

    def connection_lost(self) -> None:
        """Say that this delivery's answer cannot be delivered any more.

        The job goes on: its next delivery may be under way.
        """
        self.lost = True
        self._run.count_waiters()

    def cancel(self) -> bool:
        """Cancel the job, unless other deliveries wait for it, too.

        The outcome is a FAIL, once the job has cleared up what it made.

        :returns: False when there is an outcome already
        """
        return self._run.cancel_delivery(self)

    def undo(self) -> None:
        """Say that the job server did not want the answer.

        What the action made is taken back, unless another delivery has had
        it.
        """
        self.connection_lost()
        self._run.undelivered(sent=False, refused=True)

    def undelivered(self, sent: bool) -> None:
        """Say that the connection broke before the job server took the
        answer.

        :param sent: whether the answer was on its way; it may have arrived
        """
        self.connection_lost()
        self._run.undelivered(sent)

    @property
    def undo_failed(self) -> bool:
        """Whether something that was to be undone is left."""
        return self._run.undo_failed

    def answer(self, outcome: Outcome) -> None:
        """Have the outcome."""
        if not self.future.done():
            self.future.set_result(outcome)

    def report(self, done: int, total: int) -> None:
        """Tell the client of progress."""
        try:
            if self._progress is not None:
                self._progress(done, total)
        except Exception:  # a caller's mistake, and none of the action's
            LOG.exception("progress could not be told")

    def _cancel_with(self, future: "asyncio.Future[Outcome]") -> None:
        if future.cancelled():
            self.cancel()
