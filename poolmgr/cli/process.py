"""The worker's process: what it is made of, and what signals do to it."""

import argparse
import asyncio
import gc
import importlib.metadata
import logging
import os
import signal
import threading
from contextlib import suppress

from poolmgr.cli import preflight
from poolmgr.cli.logs import descriptors, reopen, set_format, set_level
from poolmgr.cli.watching import Watching
from poolmgr.cloud import Cloud
from poolmgr.cloud.pool import limit_arenas
from poolmgr.config.job_servers import connection_options
from poolmgr.config.options import Configuration
from poolmgr.config.reload import Reload
from poolmgr.config.remarks import log_remarks
from poolmgr.drivers.base import Driver
from poolmgr.errors import ConfigError
from poolmgr.jobs.manager import JobManager, driver_plugins
from poolmgr.reaper.loop import ReaperLoop
from poolmgr.settings import DriverSettings, PoolSettings, WorkerSettings
from poolmgr.text import one_line
from poolmgr.tracing import RequestContext, bound
from poolmgr.worker.report import Report
from poolmgr.worker.service import Service, end_on_defects
from poolmgr.worker.signals import TOGETHER, Ending, Signals, say
from poolmgr.worker.systemd import Notifier

LOG = logging.getLogger(__name__)

#: New objects after which a worker looks for garbage among them.
_COLLECT_AFTER = 5000


class Process:
    """A worker's process.

    :param conf: its configuration
    :param options: the command line's, which say how much to log
    :param signals: the process's
    """

    def __init__(
        self,
        conf: Configuration,
        options: argparse.Namespace,
        signals: Signals,
    ) -> None:
        self._conf = conf
        self._options = options
        self._signals = signals
        # Before all that takes time: a signal ends the start, too.
        self._ending = Ending(_end_at_start)
        signals.on(self._ending, signal.SIGTERM, signal.SIGINT)
        self._report = Report(descriptors)
        signals.on(self._report.start, signal.SIGUSR2)
        self._supervision = Notifier(os.environ)

    def run(self) -> int:
        """Check, serve, drain.

        :returns: the exit code
        :raises PoolmgrError: it cannot start
        """
        conf = self._conf
        with suppress(ConfigError):  # it is told below, with all others
            set_level(self._options, True, conf.worker().log_level)
            set_format(self._options, conf.worker().log_format)
            self._supervision.starting(conf.pool().short_timeout)
        preflight.require_usable(conf, driver_plugins())
        limit_arenas()
        driver = conf.make_driver(driver_plugins())
        _log_start(conf)
        return asyncio.run(self._serve(driver))

    async def _serve(self, driver: Driver) -> int:
        end_on_defects()
        conf, watching = self._conf, Watching(self._conf)
        observer = watching.observer
        cloud = Cloud(
            driver,
            ownership=lambda: manager.settings.ownership,
            observer=observer,
        )
        manager = JobManager(cloud, conf.pool(), observer=observer)
        try:
            with bound(RequestContext(urgent=True)):
                await require_no_problem(cloud, conf.pool().short_timeout)
            async with manager:
                service = Service(manager, conf.gearman(), conf.worker())
                self._report.describe(service)
                reaper = ReaperLoop(manager, conf.reaper(), conf.gearman())
                self._obey(
                    service, cloud, self._reload(manager, service, reaper)
                )
                _spare_collections()
                watch = asyncio.create_task(self._supervision.watch(service))
                reaping = asyncio.create_task(reaper.run())
                watching.serve(service)
                try:
                    code = await service.run()
                finally:
                    reaping.cancel()
            # Here and not before: to undo answers that reached nobody takes
            # time, in which the worker still shows signs of life.
            watch.cancel()
            if not manager.is_idle:
                # An action does not end, and asyncio would wait for it.
                logging.shutdown()
                os._exit(code)
            return code
        finally:
            cloud.close()

    def _obey(self, service: Service, cloud: Cloud, reload: Reload) -> None:
        """Have signals end the service, or read the configuration again."""

        def hang_up() -> None:
            reopen()
            cloud.try_again()
            self._supervision.reloading()
            reload.run()
            self._supervision.reloaded()

        def drain(number: signal.Signals) -> None:
            text = "draining; a second one ends it at once"
            say(logging.INFO, f"{number.name}: {text}")
            service.call(self._supervision.stopping)
            service.call(service.stop)

        def drain_soon(number: signal.Signals) -> None:
            # Once it is logged, another one is a second one.
            threading.Timer(TOGETHER, drain, [number]).start()

        self._ending.gently = drain_soon
        self._signals.on(lambda _number: service.call(hang_up), signal.SIGHUP)

    def _reload(
        self, manager: JobManager, service: Service, reaper: ReaperLoop
    ) -> Reload:
        """What SIGHUP does."""

        def adopt_pool(settings: PoolSettings) -> None:
            manager.adopt(settings)
            reaper.adopt(reaper.settings)  # it knows how long a job may take

        def adopt_worker(settings: WorkerSettings) -> None:
            set_level(self._options, True, settings.log_level)
            service.adopt(settings)

        conf = self._conf
        reload = Reload(conf, _require_readable)
        reload.follow("poolmgr", conf.pool(), adopt_pool)
        reload.follow("poolmgr", conf.group("poolmgr", DriverSettings))
        reload.follow("worker", conf.worker(), adopt_worker)
        reload.follow("reaper", conf.reaper(), reaper.adopt)
        reload.follow("gearman", conf.gearman())
        reload.follow("monitoring", conf.monitoring())
        name = conf.driver_name().lower()
        reload.follow(name, conf.group(name, manager.cloud.driver.Settings))
        return reload


def _end_at_start(number: signal.Signals) -> None:
    say(logging.INFO, f"{number.name}: ending before it has served")
    os._exit(0)


def _require_readable(conf: Configuration) -> None:
    log_remarks(conf, driver_plugins())
    conf.require_values(driver_plugins())
    connection_options(conf.gearman())


def _log_start(conf: Configuration) -> None:
    LOG.info(
        "poolmgr %s starts: pid %d, driver %s, pool %s, job servers %s",
        importlib.metadata.version("poolmgr"),
        os.getpid(),
        one_line(conf.driver_name()),
        one_line(conf.pool().pool),
        one_line(", ".join(conf.gearman().servers)),
    )


def _spare_collections() -> None:
    """Have garbage looked for where it can be.

    What is there when a worker has started stays: modules, plugins, the SDK.
    Jobs leave hardly any garbage that has to be looked for.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


async def require_no_problem(cloud: Cloud, seconds: float) -> None:
    """Go on only if the driver's settings fit the cloud.

    :param seconds: that the cloud may take to answer
    :raises ConfigError: they do not; there is a line in the log for each
    """
    findings = await cloud.check(seconds)
    problems = [f.problem for f in findings if f.problem]
    for problem in problems[:-1]:
        LOG.error("%s", problem)
    if problems:
        raise ConfigError(problems[-1])
