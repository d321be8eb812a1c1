"""A round: jobs and kills, draining, the reaper, the audit."""

import asyncio
import json
import os
import random
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from poolmgr.actions.base import action_plugins
from poolmgr.drivers.base import Driver
from poolmgr.jobs.request import longest_job
from tests.chaos import clouds
from tests.chaos.audit import Finding, serious
from tests.chaos.customer import Customer
from tests.chaos.desk import Desk
from tests.chaos.field import Field
from tests.chaos.history import history
from tests.chaos.killer import Killer
from tests.chaos.ledger import Entry, Ledger
from tests.chaos.plan import Plan
from tests.chaos.pool import pool_settings, reaped, scene
from tests.chaos.tally import Tally, counted
from tests.chaos.trouble import troubles
from tests.jobservers import gearmand


@dataclass(frozen=True)
class Result:
    """How a round ended.

    :ivar tally: its figures
    :ivar failures: violated guarantees, each with the job's history
    """

    tally: Tally
    failures: Sequence[str]


class Round:
    """A round on its own field.

    :param folder: an existing folder for logs
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._ledger = Ledger()
        self._failures: list[str] = []
        self._tally = Tally(rounds=1)

    def run(self) -> Result:
        """Run it."""
        started = time.monotonic()
        name = f"chaos-{self._plan.seed}-{os.getpid()}"
        with ExitStack() as stack:
            cloud = clouds.make(self._plan, self._folder)
            stack.callback(cloud.close, name)
            server = stack.enter_context(gearmand())
            field = Field(
                name, cloud, server, self._plan.workers, self._folder
            )
            stack.callback(field.close)
            with closing(cloud.driver()) as driver:
                field.restore()
                asyncio.run(self._live(field, driver))
                field.drain()
            with closing(cloud.driver()) as driver:
                self._judge(field, driver)
        self._tally.kills, self._tally.deaths = field.kills, field.deaths
        self._tally.count_jobs(self._ledger)
        self._tally.seconds = time.monotonic() - started
        return Result(self._tally, self._failures)

    async def _live(self, field: Field, driver: Driver) -> None:
        dice = random.Random(self._plan.seed)

        def new_dice() -> random.Random:
            return random.Random(dice.random())

        desk = Desk(field, self._ledger)
        customers = [
            Customer(desk, self._ledger, driver, new_dice())
            for _number in range(self._plan.customers)
        ]
        stop, calm = asyncio.Event(), asyncio.Event()
        killer = Killer(field, self._plan, new_dice())
        async with asyncio.TaskGroup() as group:
            for customer in customers:
                group.create_task(customer.live(stop))
            group.create_task(killer.work(calm))
            if self._plan.faults:
                group.create_task(troubles(field.cloud, new_dice(), calm))
            await asyncio.sleep(self._plan.seconds)
            while not self._is_enough(field):
                await asyncio.sleep(0.1)
            # Jobs that still wait for answers are not affected any more.
            stop.set()
            calm.set()
        await desk.close()

    def _is_enough(self, field: Field) -> bool:
        least = self._plan.least_kills, self._plan.least_deaths
        return field.kills >= least[0] and field.deaths >= least[1]

    def _judge(self, field: Field, driver: Driver) -> None:
        for entry, what in self._ledger.problems:
            self._fail(field, what, entry, [])
        self._audit(field, driver, reaped=False)
        if self._plan.waits:
            self._reap(field)
        else:
            reaped(driver, field.name, [field.server.address])
        self._audit(field, driver, reaped=True)

    def _reap(self, field: Field) -> None:
        """Run the command, once nothing is younger than the longest job."""
        jobs = longest_job(action_plugins(), pool_settings(field.name))
        time.sleep(jobs + 2.0)
        done = subprocess.run(
            [*field.command, "reap", "--pause", "2", "-f", "json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **field.cloud.environment},
        )
        (field.folder / "reaper.log").write_text(done.stdout + done.stderr)
        if done.returncode:
            self._failures.append(f"poolmgr reap: {done.stderr}")

    def _audit(self, field: Field, driver: Driver, reaped: bool) -> None:
        resources = scene(driver, field.name)
        findings = resources.audit(self._ledger)
        counts = counted(findings)
        if reaped:
            self._tally.after = counts
            doubts = [f for f in findings if f.fault == "in doubt"]
            histories = [
                f"{f}{self._history_of(field, f.entry, _names(f))}"
                for f in doubts
            ]
            (field.folder / "doubts.txt").write_text("\n\n".join(histories))
        else:
            self._tally.before = counts
        for finding in serious(findings, reaped):
            when = "after" if reaped else "before"
            what = f"{when} the reaper: {finding}"
            self._fail(field, what, finding.entry, _names(finding))

    def _fail(
        self, field: Field, what: str, entry: Entry | None, names: list[str]
    ) -> None:
        self._failures.append(f"{what}{self._history_of(field, entry, names)}")

    def _history_of(
        self, field: Field, entry: Entry | None, names: list[str]
    ) -> str:
        """Return the history of a job, if there is one."""
        if entry is None:
            return ""
        record = field.cloud.record()
        (field.folder / "record.json").write_text(json.dumps(record))
        entries = self._ledger.entries
        return "\n" + history(entry, names, entries, record, field.folder)


def _names(finding: Finding) -> list[str]:
    return [finding.name, finding.id]
