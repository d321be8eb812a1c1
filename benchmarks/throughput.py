"""Jobs a second of the worker, beside an echo on the same transport.

    python benchmarks/throughput.py [JOBS]

One gearmand, one client with all jobs under way at once. The echo answers in
the event loop with the payload; the worker's BUILD_IP goes through message,
manager, a thread, the action and the fake cloud. In turn, three rounds.
"""

import asyncio
import os
import statistics
import sys
import time

from servers import Gearmand, process

from poolmgr.gearman import Address, Assignment, Client, Worker
from poolmgr.settings import WorkerSettings

FUNCTION = WorkerSettings().function
ROUNDS = 3


class AnyNumber:
    """Room for any number of jobs."""

    def reserve(self) -> bool:
        """There is always room."""
        return True

    def release(self) -> None:
        """Nothing to give back."""


async def echo(address: Address) -> None:
    """Answer every job with its payload until it is killed."""

    def answer(job: Assignment) -> None:
        job.complete(job.payload)

    await Worker([address], FUNCTION, answer, AnyNumber()).run()


async def rate(address: Address, jobs: int) -> float:
    """Submit so many jobs at once; answers a second."""
    payload = b'{"action": "BUILD_IP"}'
    async with Client([address]) as client:
        warm = await client.submit(FUNCTION, payload)
        await warm.result(30.0)
        started = time.perf_counter()
        submitted = await asyncio.gather(
            *(client.submit(FUNCTION, payload) for _ in range(jobs))
        )
        for job in submitted:
            await job.result(300.0)
        return jobs / (time.perf_counter() - started)


async def compare(jobs: int) -> None:
    """Measure both in turn and print a table."""
    async with Gearmand() as server:
        address = server.address
        commands = {
            "echo": [sys.executable, __file__, "--echo", str(address)],
            "worker": [
                *(sys.executable, "-m", "poolmgr", "--driver", "fake"),
                *("--quiet", "--gearman-server", str(address), "worker"),
            ],
        }
        os.environ["OS_FAKE__IP_QUOTA"] = "1000000"
        os.environ["OS_FAKE__IP_RANGE"] = "10.0.0.0/8"
        rates: dict[str, list[float]] = {name: [] for name in commands}
        for _round in range(ROUNDS):
            for name, command in commands.items():
                with process(*command):
                    rates[name].append(await rate(address, jobs))
    medians = {n: statistics.median(found) for n, found in rates.items()}
    for name, median in medians.items():
        print(f"{name:<10}{median:>8.0f} jobs/s")
    print(f"worker/echo {medians['worker'] / medians['echo']:.3f}")


def main() -> None:
    """Be the echo, or compare."""
    if sys.argv[1:2] == ["--echo"]:
        asyncio.run(echo(Address.parse(sys.argv[2])))
    else:
        asyncio.run(compare(int(sys.argv[1]) if sys.argv[1:] else 3000))


if __name__ == "__main__":
    main()
