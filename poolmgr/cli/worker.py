"""``poolmgr worker``."""

import argparse

from poolmgr.cli.base import PoolmgrCommand


class WorkerCommand(PoolmgrCommand):
    """Run a worker until a signal stops it.

    SIGTERM or SIGINT: takes no more jobs, finishes those that are running,
    and ends; a second one ends it at once, and the job servers hand its jobs
    to other workers. SIGHUP: reads the configuration files again. SIGUSR2:
    writes a report of what it is doing into the log.

    Exit codes: 0 all running jobs were answered; 1 it could not start, or a
    defect of its own has ended it; 3 the time to drain was up and some jobs
    were stopped; 130 or 143 ended at once.
    """

    service = True
    ends_on_hangup = False

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Run the service."""
        from poolmgr.cli.process import Process

        assert self.app.signals is not None  # noqa: S101 - it is a process
        process = Process(
            self.configuration, self.app.options, self.app.signals
        )
        return process.run()
