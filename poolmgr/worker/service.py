"""The worker: jobs come in, answers go out, until it is told to stop."""

import asyncio
import functools
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from poolmgr.actions.base import Action
from poolmgr.config.job_servers import addresses, link_options
from poolmgr.errors import PluginConflict, PluginError
from poolmgr.gearman import Address, Assignment, Delivery, LinkStatus, Worker
from poolmgr.gearman.address import host_name
from poolmgr.gearman.settings import GearmanSettings
from poolmgr.jobs import message as wire
from poolmgr.jobs.in_flight import delivered_before
from poolmgr.jobs.manager import PoolManager
from poolmgr.jobs.outcome import Outcome
from poolmgr.jobs.run import Submission
from poolmgr.ownership import Job
from poolmgr.plugins import Registry
from poolmgr.settings import WorkerSettings
from poolmgr.text import one_line
from poolmgr.worker.audience import Audience
from poolmgr.worker.mailbox import Mailbox
from poolmgr.worker.priorities import Priorities
from poolmgr.worker.slots import Lanes, Load

LOG = logging.getLogger(__name__)

#: Every running job was answered.
EXIT_DRAINED = 0
#: The time to drain was up: some jobs were stopped and answered with FAIL.
EXIT_STOPPED_JOBS = 3

#: Seconds between two looks at whether everything is answered.
_TICK = 0.05
#: Seconds in which other workers may take builds that would wait here.
_COURTESY = 0.05


@dataclass(eq=False)
class _Delivery:
    """A job that was assigned to us."""

    assignment: Assignment
    #: What it says; as bytes, which are small, if it may have to wait.
    message: object
    long: bool
    submission: Submission | None = None
    #: Of one that had to wait: how many clients it had when it came.
    clients: asyncio.Task[int | None] | None = None


class Service:
    """Serves the job servers until it is told to stop.

    :param manager: runs the jobs
    :param gearman: where the job servers are
    :param settings: lanes and times
    :ivar settings: those in force
    :raises ConfigError: an address or the TLS settings cannot be used
    :raises PluginConflict: two plugins share the name of an action
    """

    def __init__(
        self,
        manager: PoolManager,
        gearman: GearmanSettings,
        settings: WorkerSettings,
    ) -> None:
        self._manager = manager
        self.settings = settings
        self._lanes: Lanes[_Delivery] = Lanes(
            settings.long_jobs,
            settings.short_jobs,
            settings.held_jobs,
            self._start,
            self._let_others_first,
            lambda: manager.stuck,
        )
        options = link_options(gearman)
        manager.delivered_before = functools.partial(delivered_before, options)
        self._worker = Worker(
            addresses(gearman),
            settings.function,
            self._take,
            self._lanes,
            options,
            client_id=f"poolmgr-{host_name()}-{os.getpid()}",
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._mailbox: Mailbox | None = None
        self._stop = asyncio.Event()
        self._told_to_stop = False
        self._time_is_up = False
        self._audience = Audience(options)
        self._priorities = Priorities(settings.function, options)
        self._beginning: set[asyncio.Task[None]] = set()
        self._insisting: asyncio.Task[None] | None = None
        # Builds that run but whose answer cannot be delivered.
        self._forsaken: set[_Delivery] = set()
        # Lost in this turn of the loop: whose, and whether not begun.
        self._just_lost: list[tuple[Address, bool]] = []
        load_actions(manager.actions)

    async def run(self) -> int:
        """Serve until :meth:`stop`, then drain.

        :returns: the exit code: :data:`EXIT_DRAINED` or
            :data:`EXIT_STOPPED_JOBS`
        :raises Exception: a defect of the transport: no job comes any more
        """
        self._loop = asyncio.get_running_loop()
        self._mailbox = Mailbox(self._loop)
        # What was said before there was a loop to say it in.
        self._adopt()
        if self._told_to_stop:
            self._stop.set()
        serving = asyncio.create_task(self._worker.run())
        told = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait(
                (serving, told), return_when=asyncio.FIRST_COMPLETED
            )
            if serving.done():
                # Who started us can do so again; to stay would help nobody.
                serving.result()
            code = await self._drain()
            await self._worker.close()
            await self._audience.close()
            return code
        finally:
            serving.cancel()
            told.cancel()

    def stop(self) -> None:
        """Have :meth:`run` drain and return; from any thread."""
        self._told_to_stop = True
        self.call(self._stop.set)

    def adopt(self, settings: WorkerSettings) -> None:
        """Use other lanes and times from now on; from any thread."""
        self.settings = settings
        self.call(self._adopt)

    def call(self, what: Callable[[], None]) -> bool:
        """Have the event loop call something soon; from any thread.

        :returns: False when it is not running
        """
        if self._loop is None:
            return False
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:  # it is closed
            return False
        return True

    @property
    def draining(self) -> bool:
        """Whether it was told to stop."""
        return self._told_to_stop

    @property
    def links(self) -> list[LinkStatus]:
        """How each link to a job server is; from any thread."""
        return self._worker.links

    @property
    def load(self) -> Load:
        """How full the lanes are; from any thread."""
        return self._lanes.load

    # -- jobs ---------------------------------------------------------------

    def _adopt(self) -> None:
        settings = self.settings
        self._lanes.limit(
            settings.long_jobs, settings.short_jobs, settings.held_jobs
        )
        self._worker.room_freed()

    def _take(self, assignment: Assignment) -> None:
        if self._time_is_up:
            # Not begun, it is better off with another worker: it goes back
            # when the link is closed.
            self._lanes.release()
            return
        message = _read(assignment.payload)
        long = self._manager.is_long(message)
        if long:
            message = assignment.payload
        delivery = _Delivery(assignment, message, long)
        assignment.on_lost = functools.partial(self._lost, delivery)
        size = len(assignment.payload)
        priority = self._priorities.next(assignment.server)
        if self._lanes.admit(delivery, long, size, priority):
            delivery.clients = asyncio.create_task(
                self._audience.count(assignment)
            )

    def _let_others_first(self) -> None:
        self._insisting = asyncio.create_task(self._insist())

    async def _insist(self) -> None:
        await asyncio.sleep(_COURTESY)
        links = self._worker.links
        await self._priorities.look(
            [each.address for each in links if each.state == "up"], _COURTESY
        )
        with self._lanes.insisting():
            self._worker.room_freed()

    def _start(self, delivery: _Delivery) -> None:
        if delivery.clients is None:
            self._begin(delivery)
            return
        task = asyncio.create_task(self._begin_if_wanted(delivery))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begin_if_wanted(self, delivery: _Delivery) -> None:
        """Do not build for a client that has gone while its job waited.

        Out of its own queue the job server would have dropped the job.
        """
        assert delivery.clients is not None  # noqa: S101 - it has waited
        assignment = delivery.assignment
        gone = (
            await delivery.clients
            and await self._audience.count(assignment) == 0
        )
        if not (gone or assignment.lost or self._time_is_up):
            self._begin(delivery)
            return
        if gone and not assignment.lost:
            LOG.info(
                "unique=%s handle=%s server=%s: not begun: its client has "
                "gone while it waited",
                one_line(assignment.unique),
                one_line(assignment.handle),
                assignment.server,
            )
            assignment.complete(wire.encode({"response": "FAIL"}))
        self._lanes.done(delivery.long)
        self._worker.room_freed()

    def _begin(self, delivery: _Delivery) -> None:
        assert self._mailbox is not None  # noqa: S101 - run() has set it
        assignment = delivery.assignment
        mailbox = self._mailbox

        def report(done: int, total: int) -> None:
            mailbox.put(functools.partial(assignment.progress, done, total))

        # A client that gives "-" has the payload stand for its unique: it is
        # nobody's name, and jobs that look alike are still several jobs.
        unique = "" if assignment.unique == "-" else assignment.unique
        job = Job(unique, assignment.handle, str(assignment.server))
        delivery.submission = self._manager.submit(
            delivery.message, job, report
        )
        delivery.submission.future.add_done_callback(
            lambda future: self._in_loop(delivery, future.result())
        )

    def _in_loop(self, delivery: _Delivery, outcome: Outcome) -> None:
        assert self._mailbox is not None  # noqa: S101 - run() has set it
        try:
            self._mailbox.put(lambda: self._answer(delivery, outcome))
        except RuntimeError:
            # The loop is closed: a second signal ended the process, and the
            # job server delivers the job again.
            LOG.debug("too late to answer %s", delivery.assignment.handle)

    def _answer(self, delivery: _Delivery, outcome: Outcome) -> None:
        on_delivery = None
        if outcome.followed:
            on_delivery = functools.partial(self._delivered, delivery)
        try:
            delivery.assignment.complete(
                wire.encode(outcome.answer), on_delivery
            )
        finally:
            self._forsaken.discard(delivery)
            # It may be long, and others may hold the delivery for a while.
            delivery.assignment.payload = delivery.message = b""
            self._lanes.done(delivery.long)
            self._worker.room_freed()

    def _delivered(self, delivery: _Delivery, result: Delivery) -> None:
        submission = delivery.submission
        assert submission is not None  # noqa: S101 - it was answered
        if result is Delivery.UNKNOWN:
            LOG.warning(
                "job server %s does not know %s any more",
                delivery.assignment.server,
                one_line(delivery.assignment.handle),
            )
            submission.undo()
        elif result is not Delivery.DELIVERED:
            submission.undelivered(sent=result is Delivery.LOST)

    def _lost(self, delivery: _Delivery) -> None:
        """The link is gone; the job server will deliver the job again."""
        held = self._lanes.drop(delivery)
        self._note_lost(delivery, held)
        if held:
            self._worker.room_freed()
        elif delivery.submission is not None:
            delivery.submission.forsake()
            if delivery.long:
                self._forsaken.add(delivery)

    def _note_lost(self, delivery: _Delivery, held: bool) -> None:
        """Have one line in the log for all that a link takes with it."""
        if not self._just_lost:
            asyncio.get_running_loop().call_soon(self._tell_of_lost)
        self._just_lost.append((delivery.assignment.server, held))

    def _tell_of_lost(self) -> None:
        lost, self._just_lost = self._just_lost, []
        for server, jobs in Counter(server for server, _held in lost).items():
            LOG.warning(
                "job server %s: with its link %d jobs were lost, %d running: "
                "it gives them to a worker again if it still has them",
                server,
                jobs,
                lost.count((server, False)),
            )

    # -- the end ------------------------------------------------------------

    async def _drain(self) -> int:
        self._worker.drain()
        self._manager.capacity.hurry()
        load = self._lanes.load
        LOG.info(
            "running: %d, they get %g s; waiting: %d, they get half of that "
            "to begin",
            load.long + load.short,
            self.settings.drain_timeout,
            load.held,
        )
        drained = await self._drained()
        if not drained:
            LOG.warning("the time to drain is up: stopping the running jobs")
            self._time_is_up = True
            self._manager.stop()
            await self._idle(self._manager.longest_cleanup() + 5.0)
        elif self._forsaken:
            LOG.warning(
                "drained; %d jobs were lost with their link: their job "
                "servers give them to other workers",
                len(self._forsaken),
            )
        else:
            LOG.info("drained")
        return EXIT_DRAINED if drained else EXIT_STOPPED_JOBS

    async def _drained(self) -> bool:
        """Wait until nothing runs; whether that is so in time.

        Builds that wait begin as long as they are likely to end in time. To
        give them back would cost each a retry, and gearmand gives up a job
        that has had ``--job-retries`` of them.
        """
        began = time.monotonic()
        while not await self._idle(_TICK):
            # Looked at each time: it may be made shorter meanwhile.
            limit = self.settings.drain_timeout
            spent = time.monotonic() - began
            if spent >= limit / 2 or self._manager.stuck:
                self._lanes.hold()
            if spent >= limit:
                return False
        return True

    async def _idle(self, seconds: float) -> bool:
        """Wait so long until nothing runs; whether that is so.

        A build that nobody can answer is not waited for; what it has made
        is for the job's next delivery.
        """
        end = time.monotonic() + seconds
        while True:
            load = self._lanes.load
            answerable = load.long - len(self._forsaken) + load.short
            answerable += self._lanes.will_start
            if not (answerable or self._worker.grabs_outstanding):
                return True
            if time.monotonic() >= end:
                return False
            await asyncio.sleep(_TICK)


def _read(payload: bytes) -> object:
    """A message, or the payload itself if it is none: the manager says so."""
    try:
        return wire.decode(payload)
    except Exception:
        return payload


def load_actions(actions: Registry[Action[Any]]) -> None:
    """Import every action now: the loop must not wait for it later.

    :raises PluginConflict: two of them share a name
    """
    for name in actions.names():
        try:
            actions.load(name)
        except PluginConflict:
            raise
        except PluginError as error:
            LOG.error("%s", one_line(str(error)))
