"""Jobs for a job server, as the benchmarks need them."""

import asyncio
import time
from collections.abc import Callable, Sequence

from servers import process

from poolmgr.gearman import Address, Client, admin
from poolmgr.gearman.protocol import PacketType, encode

#: How an answer begins.
_COMPLETE = b"\0RES\0\0\0\x0d"


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


class _OneJobClient(asyncio.Protocol):
    """A client with one job under way, and next to no cost of its own."""

    def __init__(
        self,
        packet: bytes,
        left: list[int],
        over: asyncio.Event,
        seen: Callable[[bytes], None],
    ):
        self._packet, self._left, self._over = packet, left, over
        self._seen = seen
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._packet)

    def data_received(self, data: bytes) -> None:
        self._seen(data)
        data = self._rest + data
        self._rest = data[1 - len(_COMPLETE) :]
        for _answer in range(data.count(_COMPLETE)):
            self._left[0] -= 1
            if self._left[0] >= 0:
                self._transport.write(self._packet)
            else:
                self._left[1] -= 1
                if not self._left[1]:
                    self._over.set()


async def rate(
    address: Address,
    function: str,
    payload: bytes,
    jobs: int,
    at_once: int,
    seen: Callable[[bytes], None] = lambda data: None,
) -> float:
    """Answers a second, with so many clients that each wait for theirs.

    :param seen: called with what comes back
    """
    packet = encode(PacketType.SUBMIT_JOB, function.encode(), b"", payload)
    left, over = [jobs - at_once, at_once], asyncio.Event()
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    transports = [
        (
            await loop.create_connection(
                lambda: _OneJobClient(packet, left, over, seen),
                address.host,
                address.port,
            )
        )[0]
        for _each in range(at_once)
    ]
    await over.wait()
    elapsed = time.perf_counter() - started
    for transport in transports:
        transport.close()
    return jobs / elapsed


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
