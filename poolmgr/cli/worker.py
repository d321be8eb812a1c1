"""``poolmgr worker``: puts the worker's process together."""

import argparse
import asyncio
import gc
import importlib.metadata
import logging
import os
import signal
from contextlib import suppress
from threading import Timer

from poolmgr.cli import logs
from poolmgr.cli.base import PoolmgrCommand
from poolmgr.cli.config import require_usable
from poolmgr.cloud.pool import limit_arenas
from poolmgr.config.configuration import Configuration, require_no_problems
from poolmgr.config.reload import Reload
from poolmgr.drivers.base import Driver
from poolmgr.drivers.verbs import close_driver
from poolmgr.errors import ConfigError
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.monitoring.health import write_report
from poolmgr.reaper.loop import ReaperLoop
from poolmgr.settings import WorkerSettings
from poolmgr.tracing import RequestContext, bound
from poolmgr.worker import signals
from poolmgr.worker.service import Service
from poolmgr.worker.systemd import Notifier

LOG = logging.getLogger(__name__)

#: New objects after which Python looks for garbage; jobs leave hardly any.
_COLLECT_AFTER = 5000


class WorkerCommand(PoolmgrCommand):
    """Run a worker until a signal stops it.

    SIGTERM, SIGINT: take no more jobs, finish the running ones, and exit. A
    second signal stops the worker at once; the job servers hand its jobs to
    other workers. SIGHUP: reload the configuration. SIGUSR2: write a report
    of what the worker is doing into the log.

    Exit codes: 0: all running jobs were answered. 1: the worker could not
    start, or failed because of a bug. 3: some jobs were stopped because the
    drain timeout had expired. 130, 143: stopped at once.
    """

    service = True

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Check the settings, serve, and drain.

        :returns: the exit code
        :raises PoolmgrError: the worker cannot start
        """
        # The handlers come first, because a start may take long.
        self._ending = signals.Ending(_end_at_start)
        signals.handle(self._ending, signal.SIGTERM, signal.SIGINT)
        # Kept until the worker serves. If SIGHUP were blocked meanwhile, it
        # would stay blocked in the programs that plugins start.
        self._early: list[signal.Signals] = []
        signals.handle(self._early.append, signal.SIGHUP)
        self._service: Service | None = None
        signals.handle(self._write_report, signal.SIGUSR2)
        self._notifier = Notifier(os.environ)
        conf = self.configuration
        with suppress(ConfigError):  # raised below, with all other problems
            self._adjust_log(conf.worker())
            self._notifier.starting(conf.pool().short_timeout)
        require_usable(conf)
        limit_arenas()
        driver = conf.make_driver()
        LOG.info(
            "poolmgr %s starts: pid %d, driver %s, pool %s, job servers %s",
            importlib.metadata.version("poolmgr"),
            os.getpid(),
            conf.driver_name(),
            conf.pool().pool,
            ", ".join(conf.gearman().servers),
        )
        try:
            return self.app.interruption.run(self._run(conf, driver))
        finally:
            close_driver(driver)

    def _write_report(self, _signal: signal.Signals) -> None:
        write_report(self._service, logs.descriptors)

    def _adjust_log(self, to: WorkerSettings) -> None:
        logs.adjust(self.app.options, True, to.log_level, to.log_format)

    async def _run(self, conf: Configuration, driver: Driver) -> int:
        signals.end_on_defects()
        statistics, monitoring = None, conf.monitoring()
        if monitoring.enabled:  # else its libraries are not even imported
            from poolmgr.monitoring.server import serve
            from poolmgr.monitoring.statistics import Statistics

            statistics = Statistics()
        pool = conf.pool()
        async with AsyncPoolManager(
            driver, pool, observer=statistics
        ) as manager:
            with bound(RequestContext(urgent=True)):
                findings = await manager.cloud.check(pool.short_timeout)
            require_no_problems([f.problem for f in findings if f.problem])
            service = Service(manager, conf.gearman(), conf.worker())
            self._service = service
            if statistics:
                options = conf.gearman().connection_options()
                serve(monitoring, service, statistics, options)
            # Cancelled last: closing the manager takes time, because it
            # undoes undelivered answers, and the worker is alive meanwhile.
            watch = asyncio.create_task(self._notifier.watch(service))
            code = await self._serve(conf, manager, service)
        watch.cancel()
        return code

    async def _serve(
        self, conf: Configuration, manager: AsyncPoolManager, service: Service
    ) -> int:
        """Serve, react to signals, and drain."""
        reaper = ReaperLoop(manager, conf.reaper(), conf.gearman())

        def adopt(settings: WorkerSettings) -> None:
            self._adjust_log(settings)
            service.adopt(settings)

        reload = Reload(
            conf, poolmgr=manager.adopt, worker=adopt, reaper=reaper.adopt
        )

        def hang_up() -> None:
            # The credentials may have been corrected.
            manager.cloud.circuits.login.hint()
            with self._notifier.reloading():
                reload.run()

        def drain_soon(number: signal.Signals) -> None:
            # A signal sent after the log line has to count as the second one.
            Timer(signals.TOGETHER, self._drain, [service, number]).start()

        # From now on a signal drains; during the start it ends the process.
        self._ending.gently = drain_soon
        signals.handle(lambda _number: service.call(hang_up), signal.SIGHUP)
        if self._early:
            service.call(hang_up)
        _tune_garbage_collection()
        reaping = asyncio.create_task(reaper.run())
        try:
            return await service.run()
        except Exception:
            # The group's own text does not say what has failed.
            LOG.exception("serving the job servers failed (a bug in poolmgr)")
            raise
        finally:
            reaping.cancel()

    def _drain(self, service: Service, number: signal.Signals) -> None:
        text = "draining; a second signal stops it at once"
        signals.say(logging.INFO, f"{number.name}: {text}")
        service.call(self._notifier.stopping)
        service.call(service.stop)


def _tune_garbage_collection() -> None:
    """Exempt all present objects from garbage collection.

    Modules, plugins and SDK stay. With thousands of jobs, looking through
    them repeatedly would delay answers.
    """
    # First, or garbage would stay for ever, too.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def _end_at_start(number: signal.Signals) -> None:
    signals.say(logging.INFO, f"{number.name}: stopping before it served")
    # No job was taken yet, and an import or the cloud may hang.
    os._exit(0)
