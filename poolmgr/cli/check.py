"""``poolmgr check``."""

import argparse

from poolmgr.cli import preflight
from poolmgr.cli.base import PoolmgrLister, Table
from poolmgr.cloud import open_cloud
from poolmgr.jobs.manager import driver_plugins
from poolmgr.text import one_line


class Check(PoolmgrLister):
    """Check the driver's settings against the cloud.

    Shows what each was found to be. The exit code is 1 if anything is wrong
    with one of them; a worker does not start then.
    """

    columns = ("Setting", "Value", "Found", "State", "Problem")
    spare = ("Found",)
    empty = ""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Ask the cloud."""
        conf = self.configuration
        preflight.require_usable(conf, driver_plugins())
        seconds = conf.pool().short_timeout
        with open_cloud(conf.make_driver(driver_plugins())) as cloud:
            found = cloud.check(seconds)
        if not found:
            name = one_line(conf.driver_name())
            self.app.LOG.warning("the driver %r has nothing to check", name)
        self.failed = any(finding.problem for finding in found)
        return (
            self.columns,
            [
                (
                    finding.setting,
                    one_line(finding.value),
                    one_line(finding.found),
                    "wrong" if finding.problem else "ok",
                    one_line(finding.problem or ""),
                )
                for finding in found
            ],
        )
