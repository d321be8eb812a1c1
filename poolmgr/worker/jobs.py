"""A job in a worker's hands, from its assignment to its answer."""

import asyncio
import logging
from functools import partial
from typing import Protocol

from poolmgr.events import Outcome
from poolmgr.gearman import Assignment
from poolmgr.jobs import message as wire
from poolmgr.jobs.delivery import Delivery
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.ownership import Job
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)


class JobOwner(Protocol):
    """What has jobs, as they need it.

    :ivar manager: runs them
    """

    manager: AsyncPoolManager

    def job_ended(self, job: "AssignedJob") -> None:
        """A job that had a slot does not need it any more."""

    def job_lost(self, job: "AssignedJob") -> None:
        """A job's answer cannot be delivered any more."""


class AssignedJob:
    """A job that was assigned to us, until its answer is sent.

    :ivar clients: how many clients it had when it began to wait; None if it
        did not, or if that is not known
    """

    # A worker may have ten thousand of them.
    __slots__ = ("_delivery", "_owner", "assignment", "clients", "long")

    def __init__(
        self, owner: JobOwner, assignment: Assignment, long: bool
    ) -> None:
        self.assignment = assignment
        self.long = long
        self.clients: int | None = None
        self._owner = owner
        self._delivery: Delivery | None = None
        assignment.on_lost = self._connection_lost

    def begin(self) -> None:
        """Run the action; the answer is sent when there is one."""
        assignment = self.assignment
        # A client that gives "-" has the payload stand for its unique: it is
        # nobody's name, and jobs that look alike are still several jobs.
        unique = "" if assignment.unique == "-" else assignment.unique
        self._delivery = self._owner.manager.submit(
            assignment.payload,
            Job(unique, assignment.handle, str(assignment.server)),
            assignment.progress,
        )
        # It may be long, and is not needed any more.
        assignment.payload = b""
        answer = partial(self._answer, self._delivery)
        self._delivery.future.add_done_callback(answer)

    def drop(self) -> None:
        """Do not build for a client that has gone while its job waited."""
        LOG.info(
            "unique=%s handle=%s server=%s: dropped: its client has gone "
            "while it waited",
            one_line(self.assignment.unique),
            one_line(self.assignment.handle),
            self.assignment.server,
        )
        self.assignment.complete(wire.encode({"response": "FAIL"}))

    def _answer(
        self, delivery: Delivery, future: "asyncio.Future[Outcome]"
    ) -> None:
        outcome = future.result()
        answer = wire.encode(outcome.answer)
        if not outcome.followed:
            self.assignment.complete(answer)
        elif self.assignment.lost:
            delivery.undelivered(sent=False)
        else:
            taken = self.assignment.deliver(answer)
            taken.add_done_callback(partial(self._answered, delivery))
        self._owner.job_ended(self)

    def _answered(
        self, delivery: Delivery, taken: "asyncio.Future[bool]"
    ) -> None:
        if taken.exception() is not None:
            delivery.undelivered(sent=True)
        elif not taken.result():
            LOG.warning(
                "job server %s does not know %s any more",
                self.assignment.server,
                one_line(self.assignment.handle),
            )
            delivery.undo()

    def _connection_lost(self) -> None:
        """The job server will deliver the job again."""
        if self._delivery is not None:
            self._delivery.connection_lost()
        self._owner.job_lost(self)
