"""Workers whose jobs a test answers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from poolmgr.gearman.assignment import Assignment
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.gearman.worker import Worker

FUNCTION = "f"
TIMEOUT = 60.0


class CountedSlots:
    """A number of slots for concurrent jobs."""

    def __init__(self, free: int = 1000) -> None:
        self.free = free

    def reserve(self) -> bool:
        """Take a slot."""
        if not self.free:
            return False
        self.free -= 1
        return True

    def release(self) -> None:
        """Give a slot back."""
        self.free += 1


class Running:
    """A running worker whose jobs the test answers."""

    def __init__(
        self,
        servers: Sequence[Address],
        slots: int = 1000,
        options: ConnectionOptions | None = None,
        function: str = FUNCTION,
    ) -> None:
        self.slots = CountedSlots(slots)
        self.jobs: asyncio.Queue[Assignment] = asyncio.Queue()
        self.worker = Worker(
            servers, function, self.jobs.put_nowait, self.slots, options
        )
        self._task = asyncio.create_task(self.worker.run())

    @property
    def asks(self) -> bool:
        """Return whether a requested job may still arrive."""
        return any(each.grabs for each in self.worker.connections)

    async def job(self) -> Assignment:
        """Wait for the next job."""
        async with asyncio.timeout(TIMEOUT):
            return await self.jobs.get()

    async def registered(self, number: int = 1) -> None:
        """Wait until the worker is registered with a number of servers."""
        connections = self.worker.connections
        await until(
            lambda: [c.state for c in connections].count("up") == number
        )

    def done(self, job: Assignment, answer: bytes = b"") -> None:
        """Answer a job and free its slot."""
        job.complete(answer or job.payload)
        self.slots.release()
        self.worker.grab()

    async def echo(self) -> None:
        """Answer every job with its payload, until cancelled."""
        while True:
            self.done(await self.jobs.get())

    async def close(self) -> None:
        """Stop the worker."""
        await self.worker.close()
        await self._task


@asynccontextmanager
async def running(
    *servers: Address,
    slots: int = 1000,
    options: ConnectionOptions | None = None,
    function: str = FUNCTION,
) -> AsyncIterator[Running]:
    """Run a worker for these servers."""
    worker = Running(servers, slots, options, function)
    try:
        yield worker
    finally:
        await worker.close()


async def until(condition: object) -> None:
    """Wait until a condition is true."""
    assert callable(condition)
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.01)
