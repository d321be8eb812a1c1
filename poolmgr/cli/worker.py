"""``poolmgr worker``."""

import argparse
import logging
from typing import TYPE_CHECKING

from poolmgr.cli.base import PoolmgrCommand

if TYPE_CHECKING:
    from poolmgr.drivers.base import Driver

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
        try:
            require_no_problem(driver, conf.pool().short_timeout)
            with PoolManager(driver, conf.pool()) as manager:
                service = Service(manager, conf.gearman(), conf.worker())
                code = asyncio.run(service.run())
                if service.ended_at_once:
                    # The jobs' threads must not clear up: another worker
                    # is about to take over what they have made.
                    logging.shutdown()
                    os._exit(code)
                return code
        finally:
            driver.close()


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
