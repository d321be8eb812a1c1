"""Tests of accepted, refused and lost answers."""

import asyncio

import pytest

from poolmgr.errors import TransportError
from poolmgr.gearman.client import Client
from tests.gearman_workers import FUNCTION, TIMEOUT, running
from tests.jobservers import JobServerProcess


def test_deliver_reports_an_accepted_answer(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            await client.submit(FUNCTION, b"x")
            assert await (await worker.job()).deliver(b"y")

    asyncio.run(scenario())


def test_deliver_reports_the_one_refused_answer_of_100(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            submitted = [
                await client.submit(FUNCTION, b"%d" % n) for n in range(100)
            ]
            jobs = [await worker.job() for _ in range(100)]
            refused = jobs[50].handle
            jobs[50].raw_handle = b"H:nowhere:1"
            # The answers are sent together, as an error does not say which
            # answer was refused.
            accepted = await asyncio.gather(
                *[job.deliver(job.payload) for job in jobs]
            )
            assert accepted == [n != 50 for n in range(100)]
            for n, request in enumerate(submitted):
                if request.handle != refused:
                    assert await request.result(TIMEOUT) == b"%d" % n
            (connection,) = worker.worker.connections
            assert (connection.state, connection.reconnects) == ("up", 0)

    asyncio.run(scenario())


def test_a_result_never_reaches_the_same_handle_of_a_restarted_server(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker:
            async with Client([address]) as client:
                await client.submit(FUNCTION, b"old")
                old = await worker.job()
            lost = asyncio.Event()
            old.on_lost = lost.set
            job_server.restart()
            async with asyncio.timeout(TIMEOUT):
                await lost.wait()
            async with Client([address]) as client:
                submitted = await client.submit(FUNCTION, b"new")
                new = await worker.job()
                assert new.handle == old.handle
                assert old.lost
                with pytest.raises(TransportError):
                    await old.deliver(b"y")
                worker.done(new, b"answer to new")
                assert await submitted.result(TIMEOUT) == b"answer to new"

    asyncio.run(scenario())
