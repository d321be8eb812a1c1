"""The worker process: jobs come in, answers go out, signals end it."""

import asyncio
import functools
import logging
import os
import signal
import socket
import time
from dataclasses import dataclass

from poolmgr import message as wire
from poolmgr.errors import ConfigError, PluginConflict, PluginError
from poolmgr.execution import Outcome, Submission
from poolmgr.gearman import (
    Address,
    Assignment,
    Delivery,
    LinkOptions,
    Worker,
    client_context,
)
from poolmgr.identity import Job
from poolmgr.lanes import Lanes
from poolmgr.manager import PoolManager
from poolmgr.settings import GearmanSettings, WorkerSettings
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

#: Every running job was answered.
EXIT_DRAINED = 0
#: The time to drain was up: some jobs were stopped and answered with FAIL.
EXIT_STOPPED_JOBS = 3

#: Seconds between two looks at whether everything is answered.
_TICK = 0.05


@dataclass(eq=False)
class _Delivery:
    """A job that was assigned to us."""

    assignment: Assignment
    long: bool
    submission: Submission | None = None


class Service:
    """Serves the job servers until it is told to stop.

    :param manager: runs the jobs
    :param gearman: where the job servers are
    :param settings: lanes and times
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
        self._settings = settings
        self._lanes: Lanes[_Delivery] = Lanes(
            settings.long_jobs,
            settings.short_jobs,
            settings.held_jobs,
            self._start,
        )
        self._worker = Worker(
            addresses(gearman),
            settings.function,
            self._take,
            self._lanes,
            link_options(gearman),
            client_id=f"poolmgr-{socket.gethostname()}-{os.getpid()}",
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._at_once: int | None = None
        _load_actions(manager)

    async def run(self) -> int:
        """Serve until :meth:`stop`, then drain.

        :returns: the exit code: :data:`EXIT_DRAINED`,
            :data:`EXIT_STOPPED_JOBS`, or 128 and the second signal's number
        """
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._signal, number)
        serving = asyncio.create_task(self._worker.run())
        try:
            await self._stop.wait()
            code = await self._drain()
            if self._at_once is None:
                await self._worker.close()
            return code
        finally:
            serving.cancel()
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.remove_signal_handler(number)

    @property
    def ended_at_once(self) -> bool:
        """Whether a second signal ended it, with jobs unanswered."""
        return self._at_once is not None

    def stop(self) -> None:
        """Have :meth:`run` drain and return; call it in the loop."""
        self._stop.set()

    # -- jobs ---------------------------------------------------------------

    def _take(self, assignment: Assignment) -> None:
        long = self._manager.is_long(assignment.payload)
        delivery = _Delivery(assignment, long)
        assignment.on_lost = functools.partial(self._lost, delivery)
        self._lanes.admit(delivery, long, len(assignment.payload))

    def _start(self, delivery: _Delivery) -> None:
        assert self._loop is not None  # noqa: S101 - run() has set it
        assignment = delivery.assignment
        loop = self._loop

        def report(done: int, total: int) -> None:
            loop.call_soon_threadsafe(assignment.progress, done, total)

        # A client that gives "-" has the payload stand for its unique: it is
        # nobody's name, and jobs that look alike are still several jobs.
        unique = "" if assignment.unique == "-" else assignment.unique
        job = Job(unique, assignment.handle, str(assignment.server))
        delivery.submission = self._manager.submit(
            assignment.payload, job, report
        )
        delivery.submission.future.add_done_callback(
            lambda future: self._in_loop(delivery, future.result())
        )

    def _in_loop(self, delivery: _Delivery, outcome: Outcome) -> None:
        assert self._loop is not None  # noqa: S101 - run() has set it
        try:
            self._loop.call_soon_threadsafe(self._answer, delivery, outcome)
        except RuntimeError:
            # The loop is closed: a second signal ended the process, and the
            # job server delivers the job again.
            LOG.debug("too late to answer %s", delivery.assignment.handle)

    def _answer(self, delivery: _Delivery, outcome: Outcome) -> None:
        on_delivery = None
        if outcome.followed:
            on_delivery = functools.partial(self._delivered, delivery)
        delivery.assignment.complete(wire.encode(outcome.answer), on_delivery)
        # It may be long, and others may hold the delivery for a while.
        delivery.assignment.payload = b""
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
        if self._lanes.drop(delivery):
            self._worker.room_freed()
        elif delivery.submission is not None:
            delivery.submission.forsake()

    # -- the end ------------------------------------------------------------

    def _signal(self, number: signal.Signals) -> None:
        if not self._stop.is_set():
            LOG.info("%s: draining", number.name)
            self._stop.set()
        else:
            LOG.warning("%s again: stopping at once", number.name)
            self._at_once = int(number)

    async def _drain(self) -> int:
        self._worker.drain()
        self._lanes.hold()
        load = self._lanes.load
        LOG.info(
            "running: %d, they get %g s; waiting: %d, left to other workers",
            load.long + load.short,
            self._settings.drain_timeout,
            load.held,
        )
        drained = await self._idle(self._settings.drain_timeout)
        if not drained and self._at_once is None:
            LOG.warning("the time to drain is up: stopping the running jobs")
            self._manager.stop()
            await self._idle(self._manager.longest_cleanup() + 5.0)
        if self._at_once is not None:
            return 128 + self._at_once
        if drained:
            LOG.info("drained")
        return EXIT_DRAINED if drained else EXIT_STOPPED_JOBS

    async def _idle(self, seconds: float) -> bool:
        """Wait until nothing runs; whether that is so in time."""
        end = time.monotonic() + seconds
        while self._at_once is None:
            load = self._lanes.load
            if not (load.long or load.short or self._worker.grabs_outstanding):
                return True
            if time.monotonic() >= end:
                return False
            await asyncio.sleep(_TICK)
        return False


def addresses(gearman: GearmanSettings) -> list[Address]:
    """The job servers' addresses.

    :raises ConfigError: one cannot be read
    """
    return [Address.parse(text) for text in gearman.servers]


def link_options(gearman: GearmanSettings) -> LinkOptions:
    """The settings as the transport takes them.

    :raises ConfigError: the TLS settings cannot be used
    """
    try:
        context = client_context(
            gearman.ssl_ca, gearman.ssl_cert, gearman.ssl_key
        )
    except ConfigError as error:
        raise ConfigError(
            f"[gearman] ssl_ca, ssl_cert, ssl_key: {error}"
        ) from None
    return LinkOptions(
        ssl=context,
        connect_timeout=gearman.connect_timeout,
        heartbeat=gearman.heartbeat,
        keepalive=gearman.keepalive,
        keepalive_idle=gearman.keepidle,
        keepalive_interval=gearman.keepintvl,
        keepalive_count=gearman.keepcnt,
        retry_longest=gearman.reconnect_sleep,
    )


def _load_actions(manager: PoolManager) -> None:
    """Import every action now: the loop must not wait for it later."""
    for name in manager.actions.names():
        try:
            manager.actions.load(name)
        except PluginConflict:
            raise
        except PluginError as error:
            LOG.error("%s", one_line(str(error)))
