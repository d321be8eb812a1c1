"""Several workers and several job servers on one machine.

    python benchmarks/scale_out.py [ROUNDS]

First short jobs: BUILD_IP on fake clouds with no delay, one a worker, from
50 clients at each job server that all wait for their answers. The addresses
tell which worker answered; the shares are those of the least and of the most
busy one, beside an even share. One worker's rate is 1.00.

Then builds: four places and boots of 2 s in each of two workers, and 16
builds at one job server, so two rounds of boots are the least. With ``first``
the builds are there before the second worker is: what the first had taken to
wait would be done late.
"""

import asyncio
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from load import rate, registered
from servers import Gearmand, process

from poolmgr.gearman import Address, Client
from poolmgr.settings import WorkerSettings

FUNCTION = WorkerSettings().function
JOBS = 8000
BUILD_IP = b'{"action": "BUILD_IP"}'
SIZES = ((1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (4, 2))
PLACES, BOOT, BUILDS = 4, 2.0, 16
_BY = re.compile(rb'"ip": "10\.(\d+)\.')


def worker(number: int, servers: Sequence[Address], **fake: str) -> list[str]:
    """The command of a worker with a cloud, and addresses, of its own."""
    settings = {"ip_quota": "65000", "ip_range": f"10.{number}.0.0/16", **fake}
    return [
        *("env", "OS_MONITORING__ENABLED=false"),
        *(f"OS_FAKE__{name.upper()}={it}" for name, it in settings.items()),
        f"OS_WORKER__LONG_JOBS={PLACES}",
        *(sys.executable, "-m", "poolmgr", "--driver", "fake", "--quiet"),
        *(
            word
            for server in servers
            for word in ("--gearman-server", str(server))
        ),
        "worker",
    ]


async def short(workers: int, servers: int) -> tuple[float, float, float]:
    """Jobs a second, of all job servers together; the shares of the least and
    of the most busy worker, beside an even one."""
    async with AsyncExitStack() as stack:
        there = [
            (await stack.enter_async_context(Gearmand())).address
            for _server in range(servers)
        ]
        for number in range(workers):
            stack.enter_context(process(*worker(number, there)))
        for address in there:
            await registered(address, FUNCTION, workers)
            await rate(address, FUNCTION, BUILD_IP, 100, 50)
        folder = Path(stack.enter_context(TemporaryDirectory()))
        records = [folder / str(address.port) for address in there]
        rates = await asyncio.gather(
            *(
                rate(address, FUNCTION, BUILD_IP, JOBS // servers, 50, record)
                for address, record in zip(there, records, strict=True)
            )
        )
        by = Counter(
            number
            for record in records
            for number in _BY.findall(record.read_bytes())
        )
    even = sum(by.values()) / workers
    shares = [by[b"%d" % number] / even for number in range(workers)]
    return sum(rates), min(shares), max(shares)


async def builds(first: bool) -> float:
    """Seconds that the builds take, beside the least."""
    async with AsyncExitStack() as stack:
        server = (await stack.enter_async_context(Gearmand())).address
        client = await stack.enter_async_context(Client([server]))
        commands = [
            worker(number, [server], boot_time=str(BOOT)) for number in (0, 1)
        ]
        stack.enter_context(process(*commands[0]))
        await registered(server, FUNCTION)
        if not first:
            stack.enter_context(process(*commands[1]))
            await registered(server, FUNCTION, 2)
        started = time.perf_counter()
        jobs = [
            await client.submit(FUNCTION, b'{"action": "BUILD_DEVICE"}')
            for _build in range(BUILDS)
        ]
        if first:
            stack.enter_context(process(*commands[1]))
        for job in jobs:
            await job.result(60.0)
        return (time.perf_counter() - started) / (BUILDS / PLACES / 2 * BOOT)


def main() -> None:
    """Measure all in turn and print two tables."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else 3
    found: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
    waits: dict[bool, list[float]] = {}
    for _round in range(rounds):
        for size in SIZES:
            found.setdefault(size, []).append(asyncio.run(short(*size)))
        for first in (False, True):
            waits.setdefault(first, []).append(asyncio.run(builds(first)))
    one = statistics.median(row[0] for row in found[SIZES[0]])
    print(f"{'':28}{'BUILD_IP':>10}{'':>8}{'least':>8}{'most':>8}")
    for (workers, servers), rows in found.items():
        answered, least, most = (
            statistics.median(each) for each in zip(*rows, strict=True)
        )
        name = f"{workers} workers, {servers} job servers"
        print(
            f"{name:28}{answered:>8.0f}/s{answered / one:>8.2f}"
            f"{least:>8.2f}{most:>8.2f}"
        )
    print()
    print(f"{BUILDS} builds, 2 workers, beside the least")
    for first, times in waits.items():
        name = "first one worker, then two" if first else "both there"
        print(f"{name:28}{statistics.median(times):>10.2f}")


if __name__ == "__main__":
    main()
