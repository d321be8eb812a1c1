"""Messages that are answered here: one, or many at once."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager

from poolmgr.errors import DeviceNotDeleted
from poolmgr.events import Outcome
from poolmgr.jobs.pool_manager import BlockingDelivery, PoolManager
from poolmgr.worker.signals import Interruption

#: Seconds after which a signal is seen.
_TICK = 0.1

Message = Mapping[str, object]


class Batch:
    """Copies of a message, run here.

    :param message: what is asked for
    :param count: how many times
    :param at_once: how many of them at a time
    """

    def __init__(self, message: Message, count: int, at_once: int) -> None:
        self._message = message
        self.count = count
        self._at_once = at_once
        self._deliveries: list[BlockingDelivery] = []
        self._ended: list[Outcome] = []
        self._reported: tuple[int, int] | None = None
        self._stopping = False

    def run(
        self, manager: PoolManager, interruption: Interruption
    ) -> Sequence[Outcome]:
        """Run all; nothing of them is left when it is interrupted.

        A signal that comes after the last has ended is too late.

        :returns: the outcomes, in the order in which they were asked for
        :raises Interrupted: a signal has come
        """
        interruption.hold()
        with self._all_or_none(manager):
            pending: set[futures.Future[Outcome]] = set()
            while pending or len(self._deliveries) < self.count:
                while (
                    len(self._deliveries) < self.count
                    and len(pending) < self._at_once
                ):
                    pending.add(self._submit(manager).future)
                interruption.check()
                done, pending = futures.wait(
                    pending, _TICK, futures.FIRST_COMPLETED
                )
                self._ended += [future.result() for future in done]
            return [each.future.result() for each in self._deliveries]

    def cleared_up(self) -> str:
        """How it was cleared up after an interruption, for a line; only once
        the manager is closed."""
        left = sum(map(_may_be_left, self._deliveries))
        if left:
            rest = (
                f"{left} could not be deleted: see 'poolmgr device list "
                "--all' and 'poolmgr ip list --all'"
            )
        else:
            rest = "all that was made is deleted"
        return f"{len(self._deliveries)} of {self.count} had started; {rest}"

    def step(self) -> str:
        """What it is doing."""
        if self._stopping:
            return "cleaning up"
        if self.count == 1:
            if self._reported is None:
                return "running"
            done, total = self._reported
            return f"running, step {min(done + 1, total)} of {total}"
        ended, _count = self.done()
        failed = sum(outcome.error is not None for outcome in self._ended)
        running = len(self._deliveries) - ended
        words = f"{ended}/{self.count} done, {running} running"
        return f"{words}, {failed} failed" if failed else words

    def done(self) -> tuple[int, int]:
        """How many have ended, and how many there will be."""
        return len(self._ended), self.count

    def _submit(self, manager: PoolManager) -> BlockingDelivery:
        delivery = manager.submit(self._message, progress=self._report)
        self._deliveries.append(delivery)
        return delivery

    def _report(self, done: int, total: int) -> None:
        self._reported = (done, total)

    @contextmanager
    def _all_or_none(self, manager: PoolManager) -> Iterator[None]:
        """Have nothing left when it is broken off: nobody would ever hear
        of it."""
        try:
            yield
        except BaseException:
            self._stopping = True
            manager.stop()
            # One may pass at this very moment.
            seconds = manager.longest_cleanup() + 1.0
            futures.wait([d.future for d in self._deliveries], seconds)
            for delivery in self._deliveries:
                if delivery.future.done():
                    delivery.undo()
            raise


def _may_be_left(delivery: BlockingDelivery) -> bool:
    """Whether something that a job made may still be there."""
    future = delivery.future
    if not future.done() or delivery.undo_failed:
        return True
    return isinstance(future.result().error, DeviceNotDeleted)
