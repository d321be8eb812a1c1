"""What goes over the wire, packet by packet: both servers do the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from poolmgr.gearman import admin
from poolmgr.gearman.protocol import PacketType, Parser, encode
from tests.gearman_workers import PATIENCE
from tests.jobservers import JobServerProcess

T = PacketType


class Wire:
    """A connection that speaks packets, one at a time."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = Parser()
        self._came: list[tuple[PacketType, list[bytes]]] = []

    def say(self, kind: PacketType, *args: bytes) -> None:
        self._writer.write(encode(kind, *args))

    async def hear(self) -> tuple[PacketType, list[bytes]]:
        """The next packet."""
        async with asyncio.timeout(PATIENCE):
            while not self._came:
                data = await self._reader.read(65536)
                assert data, "the server closed the connection"
                self._came += self._parser.feed(data)
        return self._came.pop(0)

    async def ask(self, kind: PacketType, *args: bytes) -> list[PacketType]:
        """The types of all that a packet is answered with."""
        self.say(kind, *args)
        self.say(T.ECHO_REQ, b"that was it")
        heard: list[PacketType] = []
        while (packet := await self.hear())[0] is not T.ECHO_RES:
            heard.append(packet[0])
        return heard

    async def submit(
        self, payload: bytes = b"x", unique: bytes = b""
    ) -> bytes:
        """Submit a job; its handle."""
        self.say(T.SUBMIT_JOB, b"f", unique, payload)
        kind, (handle,) = await self.hear()
        assert kind is T.JOB_CREATED
        return handle

    async def grab(self) -> bytes:
        """Grab a job, which there must be; its handle."""
        self.say(T.GRAB_JOB_UNIQ)
        kind, args = await self.hear()
        assert kind is T.JOB_ASSIGN_UNIQ
        return args[0]


@asynccontextmanager
async def wire(server: JobServerProcess) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection(
        server.address.host, server.address.port
    )
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def pair(server: JobServerProcess) -> AsyncIterator[tuple[Wire, Wire]]:
    """A client, and a worker that has said what it can do."""
    async with wire(server) as client, wire(server) as worker:
        assert await worker.ask(T.CAN_DO, b"f") == []
        yield client, worker


def test_a_job_is_known_until_it_is_completed_and_not_after(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        async with pair(job_server) as (client, worker):
            handle = await client.submit()
            assert await worker.grab() == handle
            assert await worker.ask(T.WORK_STATUS, handle, b"1", b"2") == []
            assert await worker.ask(T.WORK_COMPLETE, handle, b"y") == []
            assert (
                await client.ask(T.ECHO_REQ, b"")
                == [
                    T.WORK_STATUS,
                    T.WORK_COMPLETE,
                    T.ECHO_RES,
                ][:2]
            )

    asyncio.run(scenario())


def test_what_is_said_of_a_job_that_is_not_ones_own_is_an_error(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        async with (
            pair(job_server) as (client, worker),
            wire(job_server) as other,
        ):
            handle = await client.submit()
            await worker.grab()
            for kind, rest in (
                (T.WORK_COMPLETE, [b"y"]),
                (T.WORK_STATUS, [b"1", b"2"]),
                (T.WORK_FAIL, []),
            ):
                assert await other.ask(kind, handle, *rest) == [T.ERROR]
                assert await worker.ask(kind, b"H:no:1", *rest) == [T.ERROR]
            assert await worker.ask(T.WORK_COMPLETE, handle, b"y") == []
            assert await worker.ask(T.WORK_COMPLETE, handle, b"y") == [T.ERROR]

    asyncio.run(scenario())


def test_a_job_that_is_cancelled_while_it_runs_may_still_be_completed_once(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        async with pair(job_server) as (client, worker):
            handle = await client.submit()
            await worker.grab()
            assert await admin.cancel_job(job_server.address, handle.decode())
            assert (await client.hear())[0] is T.WORK_FAIL
            (job,) = await admin.show_jobs(job_server.address)
            assert (job.ignored, job.queued) == (True, False)
            # The worker is not told, and the client is told twice.
            assert await worker.ask(T.WORK_COMPLETE, handle, b"y") == []
            assert await worker.ask(T.WORK_COMPLETE, handle, b"y") == [T.ERROR]
            assert (await client.hear())[0] is T.WORK_COMPLETE

    asyncio.run(scenario())


def test_a_job_that_is_cancelled_while_it_waits_is_not_given_out(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        async with pair(job_server) as (client, worker):
            handle = await client.submit()
            assert await admin.cancel_job(job_server.address, handle.decode())
            assert (await client.hear())[0] is T.WORK_FAIL
            assert await worker.ask(T.GRAB_JOB) == [T.NO_JOB]
            assert await admin.show_jobs(job_server.address) == []

    asyncio.run(scenario())


def test_a_function_that_is_given_up_is_anothers_with_its_jobs(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        async with (
            pair(job_server) as (client, worker),
            wire(job_server) as other,
        ):
            handle = await client.submit(unique=b"u")
            await worker.grab()
            assert await worker.ask(T.CANT_DO, b"f") == []
            assert await other.ask(T.CAN_DO, b"f") == []
            assert await other.grab() == handle
            assert await worker.ask(T.WORK_COMPLETE, handle, b"y") == [T.ERROR]
            assert await other.ask(T.WORK_COMPLETE, handle, b"y") == []

    asyncio.run(scenario())


def test_an_exception_ends_a_job(job_server: JobServerProcess) -> None:
    async def scenario() -> None:
        async with (
            pair(job_server) as (plain, worker),
            wire(job_server) as curious,
        ):
            assert await curious.ask(T.OPTION_REQ, b"exceptions") == [
                T.OPTION_RES
            ]
            for client, told in (
                (plain, T.WORK_FAIL),
                (curious, T.WORK_EXCEPTION),
            ):
                handle = await client.submit()
                await worker.grab()
                assert await worker.ask(T.WORK_EXCEPTION, handle, b"!") == []
                assert await worker.ask(T.WORK_FAIL, handle) == [T.ERROR]
                assert (await client.hear())[0] is told

    asyncio.run(scenario())


def test_a_sleeping_worker_is_woken_once_for_a_job(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        async with pair(job_server) as (client, worker):
            assert await worker.ask(T.GRAB_JOB) == [T.NO_JOB]
            assert await worker.ask(T.PRE_SLEEP) == []
            await client.submit()
            assert (await worker.hear())[0] is T.NOOP
            await client.submit()
            assert await worker.ask(T.PRE_SLEEP) == [T.NOOP]

    asyncio.run(scenario())


def test_a_job_that_waits_goes_with_its_client_one_that_runs_stays(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        async with pair(job_server) as (client, worker):
            async with wire(job_server) as leaving:
                await leaving.submit(b"runs")
                running = await worker.grab()
                await leaving.submit(b"waits")
            stays = await client.submit(b"stays")
            assert await worker.grab() == stays
            assert await worker.ask(T.WORK_COMPLETE, running, b"y") == []

    asyncio.run(scenario())
