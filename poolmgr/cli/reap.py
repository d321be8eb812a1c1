"""``poolmgr reap``."""

import argparse
import sys
import time
from collections.abc import Sequence

from poolmgr.cli.base import PoolmgrLister, Table, age, text
from poolmgr.cli.options import duration, positive
from poolmgr.cloud import BlockingCloud
from poolmgr.jobs.in_flight import InFlight
from poolmgr.jobs.registries import action_plugins, longest_job
from poolmgr.reaper.reaper import Finding, Reaper
from poolmgr.text import one_line


class Reap(PoolmgrLister):
    """Delete orphaned devices and floating IPs.

    An orphan carries this pool's mark, was never handed over to a client, is
    older than any job may run, and no job server knows its job. It must be
    found twice, --pause apart. Nothing without this pool's mark is touched.
    On a terminal, asks before deleting.

    The exit code is 1 if something was not deleted.
    """

    columns = (
        *("Kind", "Name", "Age", "State", "Job", "Verdict", "Reason", "ID"),
    )
    spare = ("ID", "Job", "State", "Age")
    empty = "there are no orphans"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """What to delete."""
        add = parser.add_argument
        what = parser.add_mutually_exclusive_group()
        dry, yes = "show orphans, delete nothing", "delete without asking"
        what.add_argument("--dry-run", action="store_true", help=dry)
        what.add_argument("-y", "--yes", action="store_true", help=yes)
        add(
            "--older-than",
            type=duration,
            metavar="DURATION",
            help="only those older than this: 90 (seconds), 10m, 2h, 3d "
            "(default: [reaper] older_than)",
        )
        limit = "delete at most N (default: [reaper] limit)"
        add("--limit", metavar="N", type=positive, help=limit)
        add(
            "--pause",
            type=duration,
            default=10,
            metavar="DURATION",
            help="time between the two searches (default: 10 seconds)",
        )
        add(
            "--without-job-servers",
            action="store_true",
            help="do not ask the job servers whether they still have a job; "
            "for when one is gone for good",
        )

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Look and delete."""
        self._warn_of_actions()
        with self.open_cloud() as cloud:
            limit = self.configuration.reaper().limit
            self._limit = parsed_args.limit or limit
            reaper = self._reaper(cloud, parsed_args)
            found = self._find(cloud, reaper, parsed_args)
            asks = not (parsed_args.dry_run or parsed_args.yes)
            if asks and not self._confirms(found):
                self.app.LOG.error("nothing was deleted")
                self.failed = True
            elif not parsed_args.dry_run:
                with self.progress(lambda: "deleting orphans"):
                    found = cloud.wait(reaper.remove(found, self._limit))
        self.failed |= any(each.verdict == "failed" for each in found)
        return self.columns, [_row(each) for each in found]

    def _find(
        self, cloud: BlockingCloud, reaper: Reaper, given: argparse.Namespace
    ) -> Sequence[Finding]:
        pool, older_than = self.configuration.pool(), given.older_than
        if older_than is None:
            older_than = self.configuration.reaper().older_than
        old = max(older_than, longest_job(action_plugins(), pool))
        with self.progress(lambda: "searching"):
            found = cloud.wait(reaper.find(pool, old))
            if reaper.to_confirm:
                time.sleep(given.pause)
                found = cloud.wait(reaper.find(pool, old))
        return found

    def _confirms(self, found: Sequence[Finding]) -> bool:
        """Whether to delete orphans; on a terminal somebody is asked."""
        orphans = [each for each in found if each.verdict == "unowned"]
        orphans = orphans[: self._limit]
        err = self.app.stderr
        if not orphans or not (sys.stdin.isatty() and err.isatty()):
            return True
        for each in orphans:
            err.write(f"{each}: {one_line(each.reason)}\n")
        err.write(f"Delete these ({len(orphans)})? [y/N] ")
        err.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def _warn_of_actions(self) -> None:
        """Tell of actions whose jobs it may misjudge."""
        for action in action_plugins().inspect():
            if action.state != "ok":
                self.app.LOG.warning(
                    "how long jobs of the action %s may take is not known "
                    "(%s): --older-than has to be longer",
                    one_line(action.name),
                    one_line(action.error),
                )

    def _reaper(
        self, cloud: BlockingCloud, given: argparse.Namespace
    ) -> Reaper:
        gearman = self.configuration.gearman()
        servers = [] if given.without_job_servers else gearman.addresses()
        jobs = InFlight(list, servers, gearman.connection_options())
        return Reaper(cloud.cloud, jobs, twice=not given.dry_run)


def _row(found: Finding) -> tuple[object, ...]:
    return (
        found.kind,
        text(found.item.name),
        age(found.item.age),
        text(found.mark.state),
        text(found.mark.unique or None),
        found.verdict,
        text(found.reason),
        text(found.item.thing.id),
    )
