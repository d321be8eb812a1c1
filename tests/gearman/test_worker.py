"""Tests of the worker: slots, deliveries, answers, draining."""

import asyncio
import contextlib
import random
from collections.abc import Sequence

import pytest

from poolmgr.gearman import admin
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address
from tests.gearman_workers import FUNCTION, TIMEOUT, Running, running, until
from tests.jobservers import JobServerProcess, gearmand


def test_200_jobs_on_one_connection_end_in_any_order(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            submitted = [
                await client.submit(FUNCTION, b"%d" % n) for n in range(200)
            ]
            jobs = [await worker.job() for _ in range(200)]
            (status,) = await admin.status(address)
            assert (status.running, status.workers) == (200, 1)

            random.Random(4730).shuffle(jobs)
            for job in jobs:
                worker.done(job, b"answer to " + job.payload)

            for n, request in enumerate(submitted):
                assert await request.result(TIMEOUT) == b"answer to %d" % n

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [0, 1, 10 * 1024 * 1024])
def test_payloads_of_any_size_are_delivered(
    job_server: JobServerProcess, size: int
) -> None:
    payload = random.Random(1).randbytes(size)

    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            submitted = await client.submit(FUNCTION, payload)
            job = await worker.job()
            assert job.payload == payload
            worker.done(job, payload)
            assert await submitted.result(TIMEOUT) == payload

    asyncio.run(scenario())


def test_jobs_with_one_unique_run_once_and_answer_each_client(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with (
            running(address) as worker,
            Client([address]) as one,
            Client([address]) as other,
        ):
            submitted = [
                await client.submit(FUNCTION, b"x", unique="same")
                for client in (one, other)
            ]
            job = await worker.job()
            assert job.unique == "same"
            worker.done(job, b"y")
            for each in submitted:
                assert await each.result(TIMEOUT) == b"y"

    asyncio.run(scenario())


def test_a_unique_can_be_reused_after_its_job_has_ended(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            for answer in (b"y", b"z"):
                submitted = await client.submit(FUNCTION, b"x", unique="same")
                worker.done(await worker.job(), answer)
                assert await submitted.result(TIMEOUT) == answer

    asyncio.run(scenario())


def test_jobs_without_a_unique_are_separate_jobs(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            for _twice in range(2):
                await client.submit(FUNCTION, b"x", unique="")
            jobs = [await worker.job() for _ in range(2)]
            assert jobs[0].handle != jobs[1].handle
            assert {job.unique for job in jobs} == {""}

    asyncio.run(scenario())


def test_jobs_of_a_higher_priority_are_delivered_first() -> None:
    async def scenario(address: Address) -> None:
        async with Client([address]) as client:
            for priority in ("low", "normal", "high"):
                await client.submit(
                    FUNCTION,
                    priority.encode(),
                    background=True,
                    priority=priority,
                )
            async with running(address, slots=1) as worker:
                payloads = []
                for _ in range(3):
                    job = await worker.job()
                    payloads.append(job.payload)
                    worker.done(job)
        assert payloads == [b"high", b"normal", b"low"]

    with gearmand() as server:
        asyncio.run(scenario(server.address))


def test_progress_reaches_the_client(job_server: JobServerProcess) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            submitted = await client.submit(FUNCTION, b"x")
            (await worker.job()).progress(3, 7)
            await until(lambda: submitted.progress == (3, 7))

    asyncio.run(scenario())


def test_redelivered_jobs_keep_handle_and_unique(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with Client([address]) as client:
            first = Running([address])
            submitted = await client.submit(FUNCTION, b"x", unique="u")
            job = await first.job()
            async with running(address) as other:
                await first.close()
                again = await other.job()
                assert (again.handle, again.unique) == (job.handle, "u")
                other.done(again, b"y")
                assert await submitted.result(TIMEOUT) == b"y"

    asyncio.run(scenario())


async def count_running(servers: Sequence[Address]) -> int:
    """Return the number of jobs at the workers."""
    states = [await admin.status(server) for server in servers]
    return sum(state[0].running for state in states)


def test_a_worker_takes_no_more_jobs_than_it_has_free_slots() -> None:
    async def scenario() -> None:
        async with contextlib.AsyncExitStack() as stack:
            servers = [
                stack.enter_context(gearmand()).address for _ in range(3)
            ]
            clients = [
                await stack.enter_async_context(Client([s])) for s in servers
            ]
            for client in clients:
                for _ in range(5):
                    await client.submit(FUNCTION, b"x", background=True)
            worker = await stack.enter_async_context(
                running(*servers, slots=0)
            )
            await worker.registered(3)
            worker.slots.release()
            worker.worker.grab()
            served = []
            for _ in range(15):
                job = await worker.job()
                served.append(job.server)
                # A server may not have received the last answer yet.
                async with asyncio.timeout(TIMEOUT):
                    while await count_running(servers) != 1:
                        await asyncio.sleep(0.01)
                worker.done(job)
            # The servers take turns; no queue waits until another is empty.
            assert len(set(served[:3])) == 3

    asyncio.run(scenario())


def test_a_draining_worker_delivers_its_answers(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            submitted = await client.submit(FUNCTION, b"x")
            job = await worker.job()
            worker.worker.drain()
            await until(lambda: not worker.asks)
            await client.submit(FUNCTION, b"late", background=True)
            (status,) = await admin.status(address)
            assert (status.queued, status.running) == (2, 1)
            worker.done(job, b"y")
            assert await submitted.result(TIMEOUT) == b"y"
        (status,) = await admin.status(address)
        assert (status.queued, status.running) == (1, 0)

    asyncio.run(scenario())


def test_a_connection_lost_while_draining_is_not_up(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        async with running(job_server.address) as worker:
            await worker.registered()
            worker.worker.drain()
            job_server.kill()
            (connection,) = worker.worker.connections
            await until(lambda: connection.state == "waiting")
            assert connection.last_error

    asyncio.run(scenario())
