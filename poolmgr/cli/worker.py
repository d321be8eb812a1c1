"""``poolmgr worker``."""

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from poolmgr.cli.base import PoolmgrCommand

if TYPE_CHECKING:
    from poolmgr.drivers.base import Driver
    from poolmgr.manager import PoolManager
    from poolmgr.settings import GearmanSettings, ReaperSettings

LOG = logging.getLogger(__name__)


class WorkerCommand(PoolmgrCommand):
    """Serve the job servers until a signal ends it.

    SIGTERM or SIGINT: takes no more jobs, finishes those that are running,
    and ends; a second one ends it at once, and the job servers hand its jobs
    to other workers.

    Exit codes: 0 all running jobs were answered; 1 it could not start; 3 the
    time to drain was up and some jobs were stopped; 130 or 143 ended at once.
    """

    service = True

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Run the service."""
        import asyncio
        import os

        from poolmgr.manager import PoolManager, driver_plugins
        from poolmgr.service import Service

        conf = self.configuration
        conf.warn_of_old_names()
        driver = conf.make_driver(driver_plugins())
        conf.warn_of_exposed_secrets(driver_plugins())
        try:
            require_no_problem(driver, conf.pool().short_timeout)
            with PoolManager(driver, conf.pool()) as manager:
                service = Service(manager, conf.gearman(), conf.worker())
                with reaping(manager, conf.reaper(), conf.gearman()):
                    code = asyncio.run(service.run())
                if service.ended_at_once:
                    # The jobs' threads must not clear up: another worker
                    # is about to take over what they have made.
                    logging.shutdown()
                    os._exit(code)
                return code
        finally:
            driver.close()


@contextmanager
def reaping(
    manager: "PoolManager",
    settings: "ReaperSettings",
    gearman: "GearmanSettings",
) -> Iterator[None]:
    """Look for what nobody owns while the block runs, if that is wanted."""
    from poolmgr.inflight import InFlight
    from poolmgr.manager import longest_job
    from poolmgr.reaper import Reaper
    from poolmgr.rounds import Rounds
    from poolmgr.service import addresses, link_options

    if settings.mode == "off":
        yield
        return
    reaper = Reaper(
        manager.driver,
        manager.settings,
        settings,
        InFlight(manager.running, addresses(gearman), link_options(gearman)),
        longest_job(manager.actions, manager.settings),
    )
    delete = settings.mode == "delete"
    with Rounds(reaper, delete, settings.interval).going_on():
        yield


def require_no_problem(driver: "Driver", seconds: float) -> None:
    """Go on only if the driver's settings fit the cloud.

    :param seconds: how long the cloud may take to answer
    :raises ConfigError: they do not; there is a line in the log for each
    """
    from poolmgr.errors import ConfigError
    from poolmgr.waiting import Deadline

    findings = driver.check(Deadline(seconds))
    problems = [f.problem for f in findings if f.problem]
    for problem in problems[:-1]:
        LOG.error("%s", problem)
    if problems:
        raise ConfigError(problems[-1])
