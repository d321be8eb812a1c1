"""A run: jobs are done, workers are killed, and it is added up."""

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path

from poolmgr.gearman import LinkOptions
from poolmgr.inflight import InFlight
from tests.chaos.audit import Audit, audit
from tests.chaos.field import Field, field
from tests.chaos.jobs import Clients
from tests.chaos.weather import worsen
from tests.clouds import settings_for


@dataclass
class Plan:
    """What happens in a run.

    :ivar seconds: how long jobs are asked for
    :ivar seed: of all that is left to chance
    :ivar workers: how many there are at a time
    :ivar clients: how many wait for an answer at a time
    :ivar pause: most seconds between two kills
    :ivar restarts: whether the job server is killed now and then, too
    :ivar restart_chance: how likely that is at each kill
    """

    seconds: float
    seed: int
    workers: int = 2
    clients: int = 12
    pause: float = 2.5
    restarts: bool = False
    restart_chance: float = 0.1


@dataclass
class Result:
    """What came of it."""

    plan: Plan
    clients: Clients
    audit: Audit
    kills: int
    restarts: int
    logs: str

    def table(self) -> str:
        """The figures, a line each."""
        jobs = self.clients.jobs
        passed = sum(job.passed for job in jobs)
        answered = sum(job.answer is not None for job in jobs)
        rows = {
            "seed": self.plan.seed,
            "jobs": len(jobs),
            "answered PASS": passed,
            "answered FAIL": answered - passed,
            "lost with their job server": len(jobs) - answered,
            "workers killed": self.kills,
            "job servers killed": self.restarts,
            "without an owner before the reaper": self.audit.left,
            "in doubt": self.audit.in_doubt,
            "problems": len(self.audit.problems),
        }
        return "\n".join(
            f"{name:36}{value:>8}" for name, value in rows.items()
        )


def run(plan: Plan, folder: Path) -> Result:
    """Run it.

    :param folder: for files
    """
    chance = random.Random(plan.seed)
    cloud = {"latency": 0.05, "boot_time": 0.8, "boot_spread": 0.6}
    with field(folder, plan.workers, **cloud) as made:
        clients = Clients(made.server.address, chance, plan.clients)
        asyncio.run(_play(plan, made, clients, chance))
        in_flight = InFlight(list, [made.server.address], LinkOptions())
        sure = not made.restarts
        found = audit(clients, settings_for(made.cloud), in_flight, sure)
        return Result(
            plan, clients, found, made.kills, made.restarts, made.logs()
        )


async def _play(
    plan: Plan, made: Field, clients: Clients, chance: random.Random
) -> None:
    running = asyncio.create_task(clients.run())
    end = time.monotonic() + plan.seconds
    kills = random.Random(chance.random())
    while time.monotonic() < end:
        await asyncio.sleep(kills.uniform(0.1, plan.pause))
        worsen(made.cloud, kills)
        if plan.restarts and kills.random() < plan.restart_chance:
            await asyncio.to_thread(made.restart_server)
            # Who is killed with the job server in one moment can tell nobody
            # that his answer did not arrive.
            await asyncio.sleep(2.0)
        await asyncio.to_thread(made.kill_one, kills)
        if kills.random() < 0.1:
            await asyncio.to_thread(made.kill_one, kills)
    clients.finish()
    await running
