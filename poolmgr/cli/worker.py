"""``poolmgr worker``."""

import argparse

from poolmgr.cli.base import PoolmgrCommand


class WorkerCommand(PoolmgrCommand):
    """Serve the job servers until a signal ends it.

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
        import signal

        from poolmgr.worker.signals import Ending

        signals = self.app.signals
        assert signals is not None  # noqa: S101 - it is a process
        # Before all that takes time: a signal can break off the start, too.
        ending = Ending()
        signals.on(ending, signal.SIGTERM, signal.SIGINT)
        signals.read(signal.SIGHUP, signal.SIGUSR2)

        from poolmgr.cli.process import Process

        process = Process(self.configuration, self.app.options, ending)
        signals.on(process.report, signal.SIGUSR2)
        return process.run(signals)
