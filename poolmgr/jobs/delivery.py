"""The deliveries of a job that share the answer of one run."""

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Protocol

from poolmgr.errors import Closed, Forked, PluginFailed
from poolmgr.events import Outcome

LOG = logging.getLogger(__name__)

#: Most steps of a job that progress can be told of: clients count in 32 bits.
MOST_STEPS = 2**31 - 1

Progress = Callable[[int, int], None]


def check_progress(doing: str, done: object, total: object) -> None:
    """Check the progress that an action reports.

    :param doing: which action it is, for the error
    :raises PluginFailed: these are no numbers of steps
    """
    numbers = type(done) is int and type(total) is int
    if not (numbers and 0 <= done <= total <= MOST_STEPS):  # type: ignore[operator]
        raise PluginFailed(
            f"{doing} reported progress that is not two numbers of steps, the "
            f"first not above the second, of {MOST_STEPS} at most"
        )


class SharedRun(Protocol):
    """A run, as its deliveries need it."""

    undo_failed: bool

    def count_waiters(self) -> None:
        """Note whether anybody waits any more."""

    def cancel_delivery(self, delivery: "Delivery") -> bool:
        """See :meth:`Delivery.cancel`."""

    def take_back(self) -> None:
        """See :meth:`Delivery.undo`."""

    def undelivered(self, sent: bool) -> None:
        """See :meth:`Delivery.undelivered`."""


class Delivery:
    """One delivery of a job, which waits for the answer of a run.

    :ivar future: has the outcome, never an exception.  To cancel it is to
        cancel the delivery.
    :ivar lost: whether its answer cannot be delivered any more
    """

    def __init__(self, run: SharedRun, progress: Progress | None) -> None:
        loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Outcome] = loop.create_future()
        self.future.add_done_callback(self._done)
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
        self._run.take_back()

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

    def _done(self, future: "asyncio.Future[Outcome]") -> None:
        if future.cancelled():
            self.cancel()


class BlockingDelivery:
    """One delivery of a job; its outcome is waited for on any thread.

    :param delivery: the delivery
    :param on_loop: calls a function on the loop that it is on
    :ivar future: has the outcome; never an exception
    """

    def __init__(
        self,
        delivery: Delivery,
        on_loop: Callable[[Callable[[], object]], object],
    ) -> None:
        self.future: Future[Outcome] = OwnProcessFuture()
        # So that nobody can cancel it: there is one answer in any case.
        self.future.set_running_or_notify_cancel()
        self._delivery = delivery
        self._on_loop = on_loop
        delivery.future.add_done_callback(
            lambda done: self.future.set_result(done.result())
        )

    def cancel(self) -> bool:
        """See :meth:`Delivery.cancel`."""
        return bool(self._tell(self._delivery.cancel))

    def connection_lost(self) -> None:
        """See :meth:`Delivery.connection_lost`."""
        self._tell(self._delivery.connection_lost)

    def undo(self) -> None:
        """See :meth:`Delivery.undo`."""
        self._tell(self._delivery.undo)

    def undelivered(self, sent: bool) -> None:
        """See :meth:`Delivery.undelivered`."""
        self._tell(lambda: self._delivery.undelivered(sent))

    def _tell(self, function: Callable[[], object]) -> object:
        with suppress(Closed):  # then there is nothing to be done any more
            return self._on_loop(function)
        return None


class OwnProcessFuture(Future[Outcome]):
    """An outcome to come; waiting for it in the child of a fork, where it
    never comes, raises Forked."""

    def __init__(self) -> None:
        super().__init__()
        self._process = os.getpid()

    def result(self, timeout: float | None = None) -> Outcome:
        """Wait for it."""
        self._require_own_process()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for it; it is never an exception."""
        self._require_own_process()
        return super().exception(timeout)

    def add_done_callback(
        self, fn: Callable[[Future[Outcome]], object]
    ) -> None:
        """Have a function called with it."""
        self._require_own_process()
        super().add_done_callback(fn)

    def _require_own_process(self) -> None:
        if self._process != os.getpid():
            raise Forked("delivery")
