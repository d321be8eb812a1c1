"""What bad job servers cost a worker, and how soon it serves a restarted one.

    python benchmarks/hostile.py [SECONDS [ROUNDS]]

For each kind of bad server there is a worker of its own that has a good
gearmand besides, all at the same time; what is counted is the processor's
time of the worker in so many seconds (60) from its registration on, at the
default settings. Meanwhile another worker's only gearmand is killed with -9
and started again so many times (9): how long after it listens again, a job
is answered. The original Pool Manager took 113 s.
"""

import asyncio
import contextlib
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass

import procfs
from servers import Gearmand, free_port, process

from poolmgr.gearman import Address, Client, admin
from poolmgr.gearman.reconnector import STEADY
from poolmgr.settings import WorkerSettings

FUNCTION = WorkerSettings().function
ORIGINAL = 113.0
DOWN = (0.0, 10.0)  # seconds that the killed server stays away
PATIENCE = 60.0

Meet = Callable[[asyncio.StreamWriter], None]


@contextlib.asynccontextmanager
async def peer(meet: Meet) -> AsyncIterator[Address]:
    """A server that does the same to everyone, and reads nothing."""

    async def met(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        meet(writer)

    server = await asyncio.start_server(met, "127.0.0.1", 0)
    try:
        yield Address(*server.sockets[0].getsockname())
    finally:
        server.close()


@contextlib.contextmanager
def black_hole() -> Iterator[Address]:
    """A server that answers no SYN, for its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _more_than_it_takes in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(listener.getsockname())
        yield Address(*listener.getsockname())


async def bad_servers(stack: AsyncExitStack) -> dict[str, Address | None]:
    """One of each kind."""
    held = []  # or the silent one would hang up

    async def a_peer(meet: Meet) -> Address:
        return await stack.enter_async_context(peer(meet))

    stopped = await stack.enter_async_context(Gearmand())
    assert stopped.process is not None
    stopped.process.send_signal(signal.SIGSTOP)
    return {
        "none: at rest": None,
        "accepts and closes": await a_peer(lambda w: w.close()),
        "dead": Address("127.0.0.1", free_port()),
        "silent": await a_peer(held.append),
        "black hole": stack.enter_context(black_hole()),
        "garbage": await a_peer(lambda w: w.write(b"HTTP/1.1 400\r\n\r\n")),
        "stopped gearmand": stopped.address,
    }


def worker(
    stack: AsyncExitStack, *servers: Address
) -> subprocess.Popen[bytes]:
    """A worker of these servers on the fake cloud."""
    options = [f"--gearman-server={server}" for server in servers]
    command = [sys.executable, "-m", "poolmgr", "--driver=fake", "--quiet"]
    return stack.enter_context(process(*command, *options, "worker"))


async def registered(server: Address, number: int) -> None:
    """Wait until a server has so many workers."""
    async with asyncio.timeout(PATIENCE):
        while sum(f.workers for f in await admin.status(server)) < number:
            await asyncio.sleep(0.05)


async def costs(seconds: float) -> dict[str, float]:
    """Seconds of processor a minute, by what the bad server does."""
    async with AsyncExitStack() as stack:
        good = await stack.enter_async_context(Gearmand())
        pids = {}
        bad = await bad_servers(stack)
        for number, (kind, server) in enumerate(bad.items(), 1):
            servers = (
                [good.address] if server is None else [server, good.address]
            )
            pids[kind] = worker(stack, *servers).pid
            await registered(good.address, number)
        before = {kind: procfs.cpu(pid) for kind, pid in pids.items()}
        await asyncio.sleep(seconds)
        return {
            kind: (procfs.cpu(pid) - before[kind]) * 60 / seconds
            for kind, pid in pids.items()
        }


async def answered(server: Address) -> None:
    """Have a job answered."""
    async with Client([server]) as client:
        job = await client.submit(FUNCTION, b'{"action": "BUILD_IP"}')
        await job.result(PATIENCE)


async def recoveries(rounds: int, down: float) -> list[float]:
    """Seconds from the server's return to the first answer."""
    found = []
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Gearmand())
        worker(stack, server.address)
        for _round in range(rounds):
            await answered(server.address)
            await asyncio.sleep(STEADY + 0.5)  # or it counts as flapping
            server.kill()
            await asyncio.sleep(down)
            await server.start()
            started = time.perf_counter()
            await answered(server.address)
            found.append(time.perf_counter() - started)
    return found


@dataclass(frozen=True)
class Plan:
    """What is measured.

    :ivar seconds: of the processor's time
    :ivar rounds: of a kill at once; a third as many with a pause
    """

    seconds: float = 60.0
    rounds: int = 9


async def measure(plan: Plan) -> None:
    """Measure all at once and print the tables."""
    few = max(1, plan.rounds // 3)
    spent, *times = await asyncio.gather(
        costs(plan.seconds),
        recoveries(plan.rounds, DOWN[0]),
        recoveries(few, DOWN[1]),
    )
    print(f"{'bad server beside a good one':<32}CPU s/min")
    for kind, seconds in spent.items():
        print(f"{kind:<32}{seconds:>9.3f}")
    print(f"\n{'gearmand killed -9, away for':<32}served again after")
    for down, found in zip(DOWN, times, strict=True):
        median = statistics.median(found)
        print(
            f"{f'{down:g} s ({len(found)} times)':<32}"
            f"median {median:.3f} s, {min(found):.3f} to {max(found):.3f} s; "
            f"the original {ORIGINAL:g} s: {ORIGINAL / median:.0f} times"
        )


def main() -> None:
    """Measure."""
    given = sys.argv[1:]
    plan = Plan(
        float(given[0]) if given else Plan.seconds,
        int(given[1]) if given[1:] else Plan.rounds,
    )
    asyncio.run(measure(plan))


if __name__ == "__main__":
    main()
