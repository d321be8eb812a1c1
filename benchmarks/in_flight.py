"""What builds that wait cost a worker, and what urgent jobs meet meanwhile.

    python benchmarks/in_flight.py [BUILDS,BUILDS,...] [ROUNDS] [SECONDS]

A real worker at a real gearmand, and the loopback cloud, each a process. So
many builds are under way, and none of their servers ever boots. Memory and
CPU are the worker's, from /proc, during so many seconds in which all wait;
then come ASSIGN_IP, one after the other, before and after which the address
is free. The cloud's own time is that of ASSIGN_IP before the builds came.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import procfs
from clouds import Cloud, cloud, worker
from pulse import undisturbed
from servers import Gearmand

from poolmgr.gearman import Client
from poolmgr.settings import WorkerSettings

FUNCTION = WorkerSettings().function
LATENCY = 0.05
ASSIGNMENTS = 100
Fields = dict[str, Any]
Run = Callable[[str, Fields], Awaitable[Fields]]


@dataclass(frozen=True)
class Seen:
    """One measurement; the columns of the table.

    :ivar filled: seconds until the cloud had all builds
    :ivar rss: MiB
    :ivar pss: MiB
    :ivar threads: of the worker
    :ivar cpu: per cent of a core
    :ivar calls: of the cloud, a minute
    :ivar alone: ASSIGN_IP without builds, median, seconds
    :ivar median: ASSIGN_IP while they wait, seconds
    :ivar p99: likewise
    :ivar load: of the machine
    """

    filled: float
    rss: float
    pss: float
    threads: float
    cpu: float
    calls: float
    alone: float
    median: float
    p99: float
    load: float


def measure(builds: int, seconds: float) -> Seen:
    """Have so many builds wait in a new worker, and look at it."""
    return asyncio.run(_measured(builds, seconds))


async def _measured(builds: int, seconds: float) -> Seen:
    with ExitStack() as stack:
        there = stack.enter_context(cloud(latency=LATENCY))
        async with Gearmand() as server:
            running = stack.enter_context(
                worker(
                    server.address,
                    there,
                    worker__long_jobs=builds,
                    poolmgr__long_timeout=86400,
                )
            )
            async with Client([server.address]) as client:
                return await _measure(
                    client, there, running.pid, builds, seconds
                )


async def _measure(
    client: Client, there: Cloud, pid: int, builds: int, seconds: float
) -> Seen:
    async def run(action: str, fields: Fields) -> Fields:
        payload = json.dumps({"action": action, **fields}).encode()
        job = await client.submit(FUNCTION, payload)
        answer: Fields = json.loads(await job.result(300.0))
        assert answer["response"] == "PASS", answer
        return answer

    name = (await run("BUILD_DEVICE", {}))["name"]
    pair = {"name": name, "ip": (await run("BUILD_IP", {}))["ip"]}
    alone = await assignments(run, pair, max(ASSIGNMENTS // 5, 5))
    there.fault(
        method="POST", path="/servers", times=None, fate={"stuck": True}
    )
    started = time.monotonic()
    for _build in range(builds):
        await client.submit(FUNCTION, b'{"action": "BUILD_DEVICE"}')
    await all_there(there, builds)
    filled = time.monotonic() - started
    await asyncio.sleep(seconds / 2)
    asked = there.counts().total()
    before, began = procfs.cpu(pid), time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    cpu = (procfs.cpu(pid) - before) / took
    calls = there.counts().total() - asked
    during = await assignments(run, pair, ASSIGNMENTS)
    return Seen(
        filled=filled,
        rss=procfs.rss(pid),
        pss=procfs.pss(pid),
        threads=procfs.threads(pid),
        cpu=100 * cpu,
        calls=60 * calls / took,
        alone=statistics.median(alone),
        median=statistics.median(during),
        p99=statistics.quantiles(during, n=100)[98],
        load=os.getloadavg()[0],
    )


async def all_there(there: Cloud, builds: int) -> None:
    """Wait until the cloud has taken every build."""
    while there.counts()["compute POST 202"] < builds + 1:
        await asyncio.sleep(0.5)


async def assignments(run: Run, pair: Fields, times: int) -> list[float]:
    """Seconds of so many ASSIGN_IP that have something to do."""
    took = []
    for _time in range(times):
        started = time.monotonic()
        await run("ASSIGN_IP", pair)
        took.append(time.monotonic() - started)
        await run("REMOVE_IP", pair)
    return took


def show(found: dict[int, list[Seen]]) -> None:
    """Print the medians of the rounds."""
    names = list(asdict(next(iter(found.values()))[0]))
    print(f"{'builds':>7}" + "".join(f"{name:>9}" for name in names))
    for builds, rounds in found.items():
        values = (
            statistics.median(getattr(seen, name) for seen in rounds)
            for name in names
        )
        print(f"{builds:>7}" + "".join(f"{value:>9.2f}" for value in values))


def main() -> None:
    """Measure in turn, and print."""
    given = dict(enumerate(sys.argv[1:]))
    sizes = given.get(0, "1000,5000,10000").split(",")
    rounds, seconds = int(given.get(1, 3)), float(given.get(2, 30))
    found: dict[int, list[Seen]] = {int(size): [] for size in sizes}
    for _round in range(rounds):
        for builds, seen in found.items():
            seen.append(undisturbed(partial(measure, builds, seconds)))
    show(found)


if __name__ == "__main__":
    main()
