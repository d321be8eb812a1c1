"""No-op jobs on a real gearmand, by our transport and by its peers.

    python benchmarks/transport.py [ROUNDS]

Beside a C worker on libgearman (``libgearman-dev``), ``gear`` as it is and
with TCP_NODELAY, and ``python3-gearman``; those that are not installed are
left out. All take turns, and the table has medians over the rounds and their
ratio to the C worker.
"""

import asyncio
import importlib.util
import statistics
import sys
from collections.abc import Mapping, Sequence

from compiled import PEERS, program
from load import drained, latencies, rate, registered
from servers import Gearmand, process

from poolmgr.gearman import Address

FUNCTION = "f"
PAYLOAD = b"x" * 100
JOBS, QUEUED, ONE_BY_ONE, AT_ONCE = 20000, 20000, 300, 50
REFERENCE = "C libgearman"
#: It takes 44 ms for a job: fewer will do.
SLOW, FEW = "gear", 100


def workers(address: Address) -> Mapping[str, Sequence[str]]:
    """The commands of the workers that there are, by name."""
    where = [address.host, str(address.port), FUNCTION]
    found: dict[str, list[str]] = {}
    if echo := program("echo", "-lgearman"):
        found[REFERENCE] = [echo, *where]
    own = [sys.executable, str(PEERS / "own_echo.py"), *where]
    found["poolmgr, threads"] = [*own, "threads"]
    found["poolmgr, loop"] = [*own, "loop"]
    if importlib.util.find_spec("gear"):
        gear = [sys.executable, str(PEERS / "gear_echo.py"), *where]
        found[SLOW] = gear
        found["gear, NODELAY"] = [*gear, "nodelay"]
    if importlib.util.find_spec("python3_gearman"):
        name = str(PEERS / "gearman3_echo.py")
        found["python3-gearman"] = [sys.executable, name, *where]
    return found


async def measure(
    name: str, command: Sequence[str], address: Address
) -> tuple[float, float, float]:
    """Jobs a second of 50 clients and of a queue; seconds for one job."""
    few = name == SLOW
    with process(*command):
        await registered(address, FUNCTION)
        await rate(address, FUNCTION, PAYLOAD, AT_ONCE, 10)
        jobs = FEW if few else JOBS
        clients = await rate(address, FUNCTION, PAYLOAD, jobs, AT_ONCE)
        jobs = FEW // 3 if few else ONE_BY_ONE
        one = await latencies(address, FUNCTION, PAYLOAD, jobs)
    jobs = FEW if few else QUEUED
    queue = await drained(address, FUNCTION, jobs, command)
    return clients, queue, statistics.median(one)


async def compare(rounds: int) -> None:
    """Measure all in turn and print a table."""
    async with Gearmand() as server:
        commands = workers(server.address)
        found: dict[str, list[tuple[float, float, float]]] = {
            name: [] for name in commands
        }
        for _round in range(rounds):
            for name, command in commands.items():
                found[name].append(
                    await measure(name, command, server.address)
                )
    medians = {
        name: [statistics.median(each) for each in zip(*rows, strict=True)]
        for name, rows in found.items()
    }
    base = medians.get(REFERENCE)
    print(f"{'':18}{'50 clients':>18}{'a queue':>18}{'one at a time':>18}")
    for name, (clients, queue, one) in medians.items():
        cells = (f"{clients:.0f}/s", f"{queue:.0f}/s", f"{one * 1e3:.2f} ms")
        ratios = [
            f" {mine / theirs:5.2f}" if base else ""
            for mine, theirs in zip(
                (clients, queue, one), base or (1.0, 1.0, 1.0), strict=True
            )
        ]
        line = "".join(
            f"{cell + ratio:>18}"
            for cell, ratio in zip(cells, ratios, strict=True)
        )
        print(f"{name:18}{line}")


if __name__ == "__main__":
    asyncio.run(compare(int(sys.argv[1]) if sys.argv[1:] else 5))
