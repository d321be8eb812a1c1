"""``poolmgr reap``."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from poolmgr.cli.base import PoolmgrLister, Table, positive
from poolmgr.cli.columns import Age, Text
from poolmgr.cli.inventory import duration
from poolmgr.cli.progress import elapsed, progress
from poolmgr.text import one_line

if TYPE_CHECKING:
    from poolmgr.cloud import BlockingCloud
    from poolmgr.reaper.reaper import Reaper
    from poolmgr.reaper.rules import Candidate

_COLUMNS = ("Kind", "Name", "Age", "State", "Job", "Verdict", "Reason", "ID")


class Reap(PoolmgrLister):
    """Delete what no job owns, and say why.

    Devices and floating IPs of this pool that were never answered, are older
    than any job may last, and of whose job no job server knows. They have to
    be found in two looks. What bears no mark of this pool is never touched.

    The exit code is 1 if something could not be deleted.
    """

    failed = False
    spare = ("ID", "Job", "State", "Age")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """What to delete."""
        parser = super().get_parser(prog_name)
        add = parser.add_argument
        add(
            "--dry-run",
            action="store_true",
            help="look once and delete nothing",
        )
        add(
            "--older-than",
            type=duration,
            metavar="DURATION",
            help="only what is older: 90 (seconds), 10m, 2h, 3d (default: "
            "[reaper] older_than)",
        )
        add(
            "--limit",
            type=positive,
            metavar="N",
            help="delete so many at most (default: [reaper] limit)",
        )
        add(
            "--pause",
            type=duration,
            default=10,
            metavar="DURATION",
            help="time between the two looks (default: 10 seconds)",
        )
        add(
            "--without-job-servers",
            action="store_true",
            help="do not ask the job servers whether they still have a job, "
            "as when one is gone for good",
        )
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Look, delete, and show it."""
        return super().run(parsed_args) or int(self.failed)

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Look and delete."""
        import time

        from poolmgr.cloud import open_cloud
        from poolmgr.jobs.manager import driver_plugins

        self._warn_of_actions()
        driver = self.configuration.make_driver(driver_plugins())
        self._doing = "looking"
        with (
            open_cloud(driver) as cloud,
            progress(self.app.stderr, self._line, self.quiet),
        ):
            reaper = self._reaper(cloud, parsed_args)
            found = cloud.wait(reaper.look())
            if reaper.to_look_again:
                self._doing = "found some; pausing before a second look"
                time.sleep(parsed_args.pause)
                self._doing = "looking again"
                found = cloud.wait(reaper.look())
            if not parsed_args.dry_run:
                self._doing = "deleting what nobody owns"
                found = cloud.wait(reaper.remove(found))
        self.failed = any(each.verdict == "failed" for each in found)
        return _COLUMNS, [_row(each) for each in found]

    def _line(self, columns: int, seconds: float) -> str:
        return f"reap: {self._doing}, {elapsed(seconds)}"

    def _warn_of_actions(self) -> None:
        """Tell of actions that this command may be confused with, or whose
        jobs it may misjudge."""
        from poolmgr.errors import PluginError
        from poolmgr.jobs.manager import action_plugins

        for action, command in self.app.command_manager.hidden.items():
            if command == self.cmd_name:
                self.app.LOG.warning(
                    "this is not the action %s: only jobs, and 'poolmgr "
                    "submit', run that",
                    one_line(action),
                )
        actions = action_plugins()
        for name in actions.names():
            try:
                actions.load(name)
            except PluginError as error:
                self.app.LOG.warning(
                    "how long jobs of the action %s may take is not known "
                    "(%s): --older-than has to be longer",
                    one_line(name),
                    one_line(str(error)),
                )

    def _reaper(
        self, cloud: "BlockingCloud", given: argparse.Namespace
    ) -> "Reaper":
        from poolmgr.config.job_servers import addresses, link_options
        from poolmgr.jobs.in_flight import InFlight
        from poolmgr.jobs.manager import action_plugins, longest_job
        from poolmgr.reaper.reaper import Reaper

        conf = self.configuration
        settings, pool, gearman = conf.reaper(), conf.pool(), conf.gearman()
        if given.older_than is not None:
            settings = replace(settings, older_than=float(given.older_than))
        if given.limit is not None:
            settings = replace(settings, limit=given.limit)
        servers = [] if given.without_job_servers else addresses(gearman)
        return Reaper(
            cloud.cloud,
            pool,
            settings,
            InFlight(list, servers, link_options(gearman)),
            longest_job(action_plugins(), pool),
            sightings=1 if given.dry_run else 2,
        )


def _row(found: "Candidate") -> tuple[object, ...]:
    return (
        Text(found.kind),
        Text(found.name),
        Age(found.age),
        Text(found.mark.state),
        Text(found.mark.unique or None),
        Text(found.verdict),
        Text(found.reason),
        Text(found.thing.id),
    )
