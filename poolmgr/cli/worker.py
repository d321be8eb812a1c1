"""``poolmgr worker``."""

import argparse

from poolmgr.cli.base import PoolmgrCommand


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
        import logging
        import os

        from poolmgr.manager import PoolManager, driver_plugins
        from poolmgr.service import Service

        conf = self.configuration
        conf.warn_of_old_names()
        driver = conf.make_driver(driver_plugins())
        try:
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
