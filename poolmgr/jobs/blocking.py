"""Deliveries whose answer is waited for on other threads than the loop's."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from poolmgr.errors import Forked
from poolmgr.events import Outcome
from poolmgr.jobs.delivery import Delivery

T = TypeVar("T")


class BlockingDelivery:
    """One delivery of a job that was started or joined.

    :param delivery: the delivery, None for one that was refused
    :param loop: the loop that it is on
    :ivar future: has the outcome; never an exception
    """

    def __init__(
        self,
        delivery: Delivery | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.future: Future[Outcome] = OwnProcessFuture()
        # So that nobody can cancel it: there is one answer in any case.
        self.future.set_running_or_notify_cancel()
        self._delivery = delivery
        self._loop = loop
        if delivery is not None:
            delivery.future.add_done_callback(
                lambda done: self.future.set_result(done.result())
            )

    def cancel(self) -> bool:
        """See :meth:`Delivery.cancel`."""
        if self._delivery is None:
            return False
        found = self._tell(self._delivery.cancel)
        return found is not None and found.result()

    def connection_lost(self) -> None:
        """See :meth:`Delivery.connection_lost`."""
        if self._delivery is not None:
            self._tell(self._delivery.connection_lost)

    def undo(self) -> None:
        """See :meth:`Delivery.undo`."""
        if self._delivery is not None:
            self._tell(self._delivery.undo)

    def undelivered(self, sent: bool) -> None:
        """See :meth:`Delivery.undelivered`."""
        if self._delivery is not None:
            self._tell(partial(self._delivery.undelivered, sent))

    @property
    def undo_failed(self) -> bool:
        """Whether something that was to be undone is left."""
        return self._delivery is not None and self._delivery.undo_failed

    def _tell(self, function: Callable[[], T]) -> "Future[T] | None":
        assert self._loop is not None  # noqa: S101 - there is a delivery
        try:
            return call_on(self._loop, function)
        except RuntimeError:
            return None  # the manager is closed


class OwnProcessFuture(Future[Outcome]):
    """An outcome to come; none ever comes in the child of a fork.

    To wait for it there raises Forked.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made_in = os.getpid()

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
        """Have it told."""
        self._require_own_process()
        super().add_done_callback(fn)

    def _require_own_process(self) -> None:
        if self._made_in != os.getpid():
            raise Forked("delivery")


def serve_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped, and close it."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def call_on(
    loop: asyncio.AbstractEventLoop, function: Callable[[], T]
) -> "Future[T]":
    """Call a function on a loop, from another thread.

    :raises RuntimeError: the loop is closed
    """
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    loop.call_soon_threadsafe(call)
    return future
