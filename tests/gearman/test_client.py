"""Tests of the client: connecting, lost connections, failed jobs."""

import asyncio
import contextlib

import pytest

from poolmgr import gearman
from poolmgr.errors import TransportError
from poolmgr.gearman.client import Client, JobFailed
from poolmgr.gearman.endpoint import Address
from poolmgr.gearman.protocol import RESPONSE, PacketType, encode
from tests.batches import cancel
from tests.gearman_workers import FUNCTION, TIMEOUT, running
from tests.jobservers import JobServerProcess, free_port, gearmand


def test_a_client_uses_the_first_reachable_server(
    job_server: JobServerProcess,
) -> None:
    dead = Address("127.0.0.1", free_port())

    async def scenario() -> None:
        address = job_server.address
        async with (
            running(address) as worker,
            Client([dead, address]) as client,
        ):
            submitted = await client.submit(FUNCTION, b"x")
            worker.done(await worker.job())
            assert await submitted.result(TIMEOUT) == b"x"

    asyncio.run(scenario())


def test_the_error_without_a_reachable_server_names_all_servers() -> None:
    dead = [Address("127.0.0.1", free_port()) for _ in range(2)]

    async def scenario() -> None:
        with pytest.raises(TransportError, match=f"{dead[0]}.*{dead[1]}"):
            async with Client(dead):
                pass

    asyncio.run(scenario())


def test_calls_fail_after_the_connection_is_lost(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        async with Client([job_server.address]) as client:
            submitted = await client.submit(FUNCTION, b"x")
            job_server.kill()
            with pytest.raises(TransportError):
                await submitted.result(TIMEOUT)
            with pytest.raises(TransportError):
                await client.submit(FUNCTION, b"x")

    asyncio.run(scenario())


def test_a_cancelled_job_fails() -> None:
    async def scenario(address: Address) -> None:
        async with running(address) as worker, Client([address]) as client:
            job = await client.submit(FUNCTION, b"x")
            await worker.job()
            assert not cancel(address, "H:nowhere:1")
            assert cancel(address, job.handle)
            with pytest.raises(JobFailed):
                await job.result(TIMEOUT)

    with gearmand() as server:
        asyncio.run(scenario(server.address))


def test_a_job_whose_answer_is_cancelled_costs_no_other_its_answer(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            first = await client.submit(FUNCTION, b"first")
            second = await client.submit(FUNCTION, b"second")
            jobs = [await worker.job() for _ in range(2)]
            first.answer.cancel()
            for job in sorted(jobs, key=lambda job: job.payload):
                worker.done(job)
            assert await second.result(TIMEOUT) == b"second"

    asyncio.run(scenario())


def test_a_lost_connection_fails_jobs_after_a_cancelled_request() -> None:
    cancelled = asyncio.Event()

    async def serve(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # This server accepts jobs and does not answer queries of their status.
        await reader.readuntil(b"\0REQ")
        writer.write(encode(PacketType.ECHO_RES, b"", magic=RESPONSE))
        await reader.readuntil(b"payload")
        writer.write(encode(PacketType.JOB_CREATED, b"H:1", magic=RESPONSE))
        await cancelled.wait()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, Client([Address("127.0.0.1", port)]) as client:
            job = await client.submit(FUNCTION, b"payload")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.has(handle="H:1")
            cancelled.set()
            with pytest.raises(TransportError, match="closed by the job"):
                await job.result(TIMEOUT)

    asyncio.run(scenario())


def test_names_with_surrogates_are_not_found(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        async with Client([job_server.address]) as client:
            assert not await client.has(unique="\ud800")
            assert not await client.has(handle="\ud800")

    asyncio.run(scenario())


def test_the_package_exports_its_public_names() -> None:
    exported = {name: getattr(gearman, name) for name in gearman.__all__}

    assert exported["Client"] is Client
    assert issubclass(exported["JobFailed"], TransportError)
    assert callable(exported["client_context"])
    with pytest.raises(AttributeError, match="has no attribute 'Other'"):
        _ = gearman.Other
