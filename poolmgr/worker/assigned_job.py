"""A job that a job server has assigned to this worker."""

import asyncio
import logging
from dataclasses import dataclass

from poolmgr.errors import TransportError
from poolmgr.events import Outcome
from poolmgr.gearman.assignment import Assignment
from poolmgr.jobs import message as wire
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.jobs.run import Delivery
from poolmgr.ownership import Job
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class AssignedJob:
    """An assigned job: it runs, and its answer is sent.

    :ivar assignment: the job as it arrived
    :ivar long: whether it is a long job
    :ivar priority: of the prefetched jobs the lowest number starts first
    :ivar clients: number of clients that waited for it when it was
        prefetched; None if it was not, or if the number is unknown
    """

    assignment: Assignment
    long: bool
    priority: int
    clients: int | None = None
    _delivery: Delivery | None = None
    _accepted: asyncio.Future[bool] | None = None

    @property
    def size(self) -> int:
        """Bytes of its payload; 0 once it has started."""
        return len(self.assignment.payload)

    def start(self, manager: AsyncPoolManager) -> asyncio.Future[Outcome]:
        """Start the action.

        :returns: its outcome, for :meth:`answer`
        """
        assignment = self.assignment
        # With the unique "-" the payload identifies the job, so different
        # jobs of the same payload would look like one.
        unique = "" if assignment.unique == "-" else assignment.unique
        self._delivery = manager.submit(
            assignment.payload,
            Job(unique, assignment.handle, str(assignment.server)),
            assignment.progress,
        )
        assignment.payload = b""  # it may be large
        return self._delivery.future

    def answer(self, outcome: Outcome) -> None:
        """Send the answer, unless the connection is lost."""
        assignment, answer = self.assignment, wire.encode(outcome.answer)
        # To ask for a confirmation costs two echoes.
        if not outcome.followed:
            assignment.complete(answer)
        elif not assignment.lost:
            self._accepted = assignment.deliver(answer)
        elif self._delivery is not None:
            self._delivery.undelivered(sent=False)

    async def confirm(self) -> None:
        """Wait until the job server has accepted the answer; undo the job if
        it refuses it."""
        if self._delivery is None or self._accepted is None:
            return
        try:
            accepted = await self._accepted
        except TransportError:
            self._delivery.undelivered(sent=True)
            return
        if not accepted:
            self._delivery.undo()

    def drop(self) -> None:
        """Answer without running the action, because the client has gone."""
        job = self.assignment
        name = f"unique={job.unique} handle={job.handle} server={job.server}"
        LOG.info("%s: dropped: its client has gone", one_line(name))
        self.assignment.complete(wire.encode({"response": "FAIL"}))

    def connection_lost(self) -> None:
        """Note that the answer cannot be delivered; the job server delivers
        the job again."""
        if self._delivery is not None:
            self._delivery.connection_lost()
