"""The way of a job through the worker, beside the bare transport.

    python benchmarks/whole_path.py [ROUNDS]

BUILD_IP on the fake cloud with no delay: from the job server's bytes through
message, manager, a thread, the action and the driver to the answer's bytes.
The transport alone answers with the payload, by a thread as well. Both take
turns on one gearmand, with 50 clients that each wait for their answer, and
with one job after another.
"""

import asyncio
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from load import latencies, rate, registered
from servers import Gearmand, process

from poolmgr.gearman import Address
from poolmgr.settings import WorkerSettings

FUNCTION = WorkerSettings().function
PAYLOAD = b'{"action": "BUILD_IP"}'
JOBS, ONE_BY_ONE, AT_ONCE = 10000, 500, 50
OWN_ECHO = Path(__file__).parent / "peers" / "own_echo.py"
TRANSPORT, WORKER = "transport", "worker"


async def measure(
    command: Sequence[str], address: Address
) -> tuple[float, float, float]:
    """Jobs a second; seconds that one takes, median and 99 of 100."""
    with process(*command):
        await registered(address, FUNCTION)
        await rate(address, FUNCTION, PAYLOAD, AT_ONCE, 10)
        answered = await rate(address, FUNCTION, PAYLOAD, JOBS, AT_ONCE)
        each = await latencies(address, FUNCTION, PAYLOAD, ONE_BY_ONE)
    return answered, statistics.median(each), sorted(each)[-len(each) // 100]


async def compare(rounds: int) -> None:
    """Measure both in turn and print a table."""
    os.environ["OS_FAKE__IP_QUOTA"] = "1000000"
    os.environ["OS_FAKE__IP_RANGE"] = "10.0.0.0/8"
    async with Gearmand() as server:
        address = server.address
        commands = {
            TRANSPORT: [
                *(sys.executable, str(OWN_ECHO), address.host),
                *(str(address.port), FUNCTION, "threads"),
            ],
            WORKER: [
                *(sys.executable, "-m", "poolmgr", "--driver", "fake"),
                *("--quiet", "--gearman-server", str(address), "worker"),
            ],
        }
        found: dict[str, list[tuple[float, float, float]]] = {
            name: [] for name in commands
        }
        for _round in range(rounds):
            for name, command in commands.items():
                found[name].append(await measure(command, address))
    medians = {
        name: [statistics.median(each) for each in zip(*rows, strict=True)]
        for name, rows in found.items()
    }
    print(f"{'':12}{'50 clients':>12}{'p50':>12}{'p99':>12}")
    for name, (answered, p50, p99) in medians.items():
        print(
            f"{name:12}{answered:>10.0f}/s"
            f"{p50 * 1e3:>9.2f} ms{p99 * 1e3:>9.2f} ms"
        )
    bare, whole = medians[TRANSPORT], medians[WORKER]
    print(
        f"{'worker':12}{whole[0] / bare[0]:>12.2f}"
        f"{(whole[1] - bare[1]) * 1e3:>+9.2f} ms"
        f"{(whole[2] - bare[2]) * 1e3:>+9.2f} ms"
    )


if __name__ == "__main__":
    asyncio.run(compare(int(sys.argv[1]) if sys.argv[1:] else 5))
