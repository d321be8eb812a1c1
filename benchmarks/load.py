"""Jobs for a job server, as the benchmarks need them."""

import asyncio
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from compiled import program
from servers import process

from poolmgr.gearman import Address, Client, admin


async def registered(
    address: Address, function: str, workers: int = 1
) -> None:
    """Wait until so many workers have the function."""
    async with asyncio.timeout(30.0):
        while True:
            status = {s.name: s for s in await admin.status(address)}
            if function in status and status[function].workers >= workers:
                return
            await asyncio.sleep(0.02)


async def rate(
    address: Address,
    function: str,
    payload: bytes,
    jobs: int,
    at_once: int,
    record: Path | None = None,
) -> float:
    """Answers a second, with so many clients that each wait for theirs.

    They are one process in C: what clients cost, the worker cannot have.

    :param record: a file for what comes back
    """
    clients = program("clients")
    assert clients is not None
    running = await asyncio.create_subprocess_exec(
        *(clients, str(address.port), function),
        *(payload.decode(), str(jobs), str(at_once)),
        *([str(record)] if record else []),
        stdout=subprocess.PIPE,
    )
    said, _nothing = await running.communicate()
    return float(said)


async def drained(
    address: Address, function: str, jobs: int, start: Sequence[str]
) -> float:
    """Jobs a second at which a worker empties a queue in background."""
    async with Client([address]) as client:
        for _job in range(jobs):
            await client.submit(function, b"x" * 100, background=True)
    with process(*start):
        started = 0.0
        while True:
            status = {s.name: s for s in await admin.status(address)}
            queued = status[function].queued
            now = time.perf_counter()
            if not started and queued < jobs:
                started, first = now, queued
            if not queued:
                # Before the first look it had done some already.
                return first / (now - started) if first else jobs / 0.001
            await asyncio.sleep(0.005)


async def latencies(
    address: Address, function: str, payload: bytes, jobs: int
) -> list[float]:
    """Seconds that each of so many jobs took, one after another."""
    found = []
    async with Client([address]) as client:
        for _job in range(jobs):
            started = time.perf_counter()
            submitted = await client.submit(function, payload)
            await submitted.result(60.0)
            found.append(time.perf_counter() - started)
    return found
