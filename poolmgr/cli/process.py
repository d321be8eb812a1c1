"""The worker's process: what it is made of, and what signals do to it."""

import argparse
import asyncio
import gc
import importlib.metadata
import logging
import os
import signal
from contextlib import suppress

from poolmgr.cli import preflight
from poolmgr.cli.logs import descriptors, reopen, set_format, set_level
from poolmgr.cli.reaping import Reaping
from poolmgr.cli.supervision import Supervision
from poolmgr.cli.watching import Watching
from poolmgr.config.job_servers import link_options
from poolmgr.config.options import Configuration
from poolmgr.config.reload import Reload
from poolmgr.drivers.base import Driver
from poolmgr.errors import ConfigError
from poolmgr.jobs.manager import PoolManager, driver_plugins
from poolmgr.settings import DriverSettings, PoolSettings, WorkerSettings
from poolmgr.text import one_line
from poolmgr.tracing import Following, Trail
from poolmgr.waiting import Deadline
from poolmgr.worker import defects
from poolmgr.worker.report import Report
from poolmgr.worker.service import Service
from poolmgr.worker.signals import Aside, Ending, Signals
from poolmgr.worker.state import State, describe

LOG = logging.getLogger(__name__)

#: New objects after which a worker looks for garbage among them.
_COLLECT_AFTER = 5000


class Process:
    """A worker's process.

    :param conf: its configuration
    :param options: the command line's, which say how much to log
    :param ending: what SIGTERM and SIGINT do
    """

    def __init__(
        self, conf: Configuration, options: argparse.Namespace, ending: Ending
    ) -> None:
        self._conf = conf
        self._options = options
        self._ending = ending
        self._report = Report(descriptors)
        self.report = Aside(self._report.write, "poolmgr-report")
        self._supervision = Supervision.of_environment()

    def run(self, signals: Signals) -> int:
        """Check, serve, drain.

        :param signals: has SIGHUP read the configuration again
        :returns: the exit code
        :raises PoolmgrError: it cannot start
        """
        defects.watch_threads()
        conf, supervision = self._conf, self._supervision
        with suppress(ConfigError):  # it is told below, with all others
            set_level(self._options, True, conf.worker().log_level)
            set_format(self._options, conf.worker().log_format)
            supervision.starting(conf.pool().short_timeout)
        preflight.require_usable(conf, driver_plugins())
        driver = conf.make_driver(driver_plugins())
        try:
            _say_what_starts(conf)
            if not self._fits(driver):
                return 0
            watching = Watching(conf)
            with PoolManager(
                driver, conf.pool(), observer=watching.observer
            ) as manager:
                service = Service(manager, conf.gearman(), conf.worker())
                state = State(manager, service)
                describe(self._report, state)
                reaper = Reaping(manager, conf.reaper(), conf.gearman())
                reload = self._reload(manager, service, reaper)

                def hang_up() -> None:
                    reopen()
                    driver.try_again()
                    told()

                told = supervision.reloading(reload.run)
                signals.on(Aside(hang_up, "poolmgr-reload"), signal.SIGHUP)
                drain = supervision.stopping(service.stop)
                if not self._ending.serves(drain):
                    return 0
                _spare_collections()
                watching.serve(state)
                with reaper.rounds.going_on():
                    return asyncio.run(self._serve(service))
        finally:
            driver.close()

    async def _serve(self, service: Service) -> int:
        defects.watch_callbacks(asyncio.get_running_loop())
        async with self._supervision.watching(service):
            return await service.run()

    def _fits(self, driver: Driver) -> bool:
        """Whether to go on; False when a signal breaks off the start.

        :raises ConfigError: the driver's settings do not fit the cloud
        """
        stop = self._ending.stop
        try:
            seconds = self._conf.pool().short_timeout
            with Following(Trail()):
                require_no_problem(driver, Deadline(seconds, stop))
        except Exception:
            if not stop.is_set():
                raise
        return not stop.is_set()

    def _reload(
        self, manager: PoolManager, service: Service, reaper: Reaping
    ) -> Reload:
        """What SIGHUP does."""

        def adopt_pool(settings: PoolSettings) -> None:
            manager.adopt(settings)
            reaper.adopt(reaper.settings)  # it knows how long a job may take

        def adopt_worker(settings: WorkerSettings) -> None:
            set_level(self._options, True, settings.log_level)
            service.adopt(settings)

        conf = self._conf
        reload = Reload(conf, _looked_at)
        reload.follow("poolmgr", conf.pool(), adopt_pool)
        reload.follow("poolmgr", conf.group("poolmgr", DriverSettings))
        reload.follow("worker", conf.worker(), adopt_worker)
        reload.follow("reaper", conf.reaper(), reaper.adopt)
        reload.follow("gearman", conf.gearman())
        reload.follow("monitoring", conf.monitoring())
        name = conf.driver_name().lower()
        reload.follow(name, conf.group(name, manager.driver.Settings))
        return reload


def _looked_at(conf: Configuration) -> None:
    preflight.warn_of_unknown(conf, driver_plugins())
    conf.require_values(driver_plugins())
    link_options(conf.gearman())


def _say_what_starts(conf: Configuration) -> None:
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


def require_no_problem(driver: Driver, deadline: Deadline) -> None:
    """Go on only if the driver's settings fit the cloud.

    :param deadline: until when the cloud may take to answer
    :raises ConfigError: they do not; there is a line in the log for each
    """
    findings = driver.check(deadline)
    problems = [f.problem for f in findings if f.problem]
    for problem in problems[:-1]:
        if not deadline.stop.is_set():
            LOG.error("%s", problem)
    if problems:
        raise ConfigError(problems[-1])
