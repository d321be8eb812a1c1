"""``poolmgr reap``."""

import argparse
import sys
import time
from collections.abc import Sequence

from poolmgr.actions.base import action_plugins
from poolmgr.cli.base import Age, PoolmgrLister, Row, Table
from poolmgr.cli.usage import UsageError, duration, positive
from poolmgr.cloud import open_cloud
from poolmgr.jobs.request import longest_job
from poolmgr.reaper.reaper import Finding, InFlight, Reaper
from poolmgr.text import one_line


class Reap(PoolmgrLister):
    """Delete orphaned devices and floating IPs.

    An orphan carries this pool's mark, was never handed over to a client, is
    older than any job may run, and no job server knows its job. It must be
    found twice, --pause apart. Nothing without this pool's mark is touched.
    Asks before deleting if standard input is a terminal.

    The exit code is 1 if a deletion failed, or if the answer was no.
    """

    columns = (
        *("Kind", "Name", "Age", "State", "Job", "Verdict", "Reason", "ID"),
    )
    spare = ("ID", "Job", "State", "Age")
    empty = "there are no orphans"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options."""
        add = parser.add_argument
        what = parser.add_mutually_exclusive_group()
        dry, yes = "show orphans, delete nothing", "delete without asking"
        what.add_argument("--dry-run", action="store_true", help=dry)
        what.add_argument("-y", "--yes", action="store_true", help=yes)
        older, name = "only older than this, as 10m or 2h", "DURATION"
        older += " (default: [reaper] older_than)"
        add("--older-than", metavar=name, type=duration, help=older)
        limit = "delete at most N (default: [reaper] limit)"
        add("--limit", metavar="N", type=positive, help=limit)
        pause = "time between the two searches (default: 10s)"
        add("--pause", metavar=name, type=duration, default=10, help=pause)
        unasked = "do not ask the job servers: one of them is gone for good"
        add("--without-job-servers", action="store_true", help=unasked)

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Search twice, ask, and delete."""
        given, conf = parsed_args, self.configuration
        actions = action_plugins()
        # Logs broken plugins: the time limits of their jobs are unknown.
        actions.load_all()
        driver = conf.make_driver()  # reports the invalid values of all groups
        pool, settings, gearman = conf.pool(), conf.reaper(), conf.gearman()
        limit = given.limit or settings.limit
        old = given.older_than
        old = settings.older_than if old is None else old
        old = max(old, longest_job(actions, pool))
        servers = [] if given.without_job_servers else gearman.addresses()
        # list() is empty: this process runs no jobs.
        jobs = InFlight(list, servers, gearman.connection_options())
        with open_cloud(driver) as cloud:
            reaper = Reaper(cloud.cloud, jobs, twice=not given.dry_run)
            with self.progress(lambda: "searching"):
                found = cloud.wait(reaper.find(pool, old))
                if reaper.to_confirm:
                    time.sleep(given.pause)
                    found = cloud.wait(reaper.find(pool, old))
            orphans = [each for each in found if each.verdict == "unowned"]
            asks = orphans and not (given.dry_run or given.yes)
            if asks and not self._confirms(orphans[:limit]):
                self.app.LOG.error("nothing was deleted")
                self.failed = True
            elif not given.dry_run:
                with self.progress(lambda: "deleting orphans"):
                    found = cloud.wait(reaper.remove(found, limit))
        self.failed |= any(each.verdict == "failed" for each in found)
        return self.columns, [_row(each) for each in found]

    def _confirms(self, orphans: Sequence[Finding]) -> bool:
        """Return whether to delete orphans; ask a person at a terminal."""
        if not sys.stdin.isatty():
            return True
        err, out = self.app.stderr, self.app.stdout
        shown, typed = err if err.isatty() else out, ""
        if not shown.isatty():
            raise UsageError("the question cannot be seen: reap needs --yes")
        for each in orphans:
            shown.write(f"{each}: {one_line(each.reason)}\n")
        shown.write(f"Delete these ({len(orphans)})? [y/N] ")
        shown.flush()
        try:
            typed = sys.stdin.readline()
        finally:
            if not typed:  # Ctrl-C or Ctrl-D
                shown.write("\n")
        return typed.strip().lower() in ("y", "yes")


def _row(found: Finding) -> Row:
    item, mark = found.item, found.mark
    age = None if item.age is None else Age(item.age)
    what = found.kind, item.name, age, mark.state, mark.unique or None
    return *what, found.verdict, found.reason, item.resource.id
