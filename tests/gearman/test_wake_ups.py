"""Tests of jobs for which the job server wakes no worker."""

import asyncio
import time

from poolmgr.gearman import admin
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import ConnectionOptions
from poolmgr.gearman.protocol import PacketType
from tests.gearman.raw import RawPeer
from tests.gearman_workers import FUNCTION, running, until
from tests.jobservers import gearmand

QUICK = ConnectionOptions(heartbeat=0.5)


def test_a_delayed_job_arrives_when_it_is_due() -> None:
    async def scenario() -> None:
        with gearmand() as server, RawPeer(server.address) as client:
            async with running(server.address, options=QUICK) as worker:
                await worker.registered()
                due = b"%d" % (time.time() + 2)
                client.ask(
                    PacketType.SUBMIT_JOB_EPOCH, b"f", b"u", due, b"later"
                )
                assert (await worker.job()).payload == b"later"

    asyncio.run(scenario())


def test_a_delayed_job_arrives_at_a_busy_worker() -> None:
    """The worker's connection is never idle; its slot is rarely free."""

    async def scenario() -> None:
        with gearmand() as server, RawPeer(server.address) as client:
            async with running(server.address, options=QUICK) as worker:
                async with Client([server.address]) as other:
                    due = b"%d" % (time.time() + 2)
                    client.ask(
                        PacketType.SUBMIT_JOB_EPOCH, b"f", b"u", due, b"later"
                    )
                    payload = b""
                    while payload != b"later":
                        await other.submit(FUNCTION, b"now", unique="")
                        job = await worker.job()
                        payload = job.payload
                        worker.done(job)

    asyncio.run(scenario())


def test_no_job_is_lost_if_a_full_worker_is_woken() -> None:
    async def scenario() -> None:
        with gearmand("--worker-wakeup=1") as server:
            address = server.address
            async with (
                running(address, slots=1, options=QUICK) as full,
                running(address, options=QUICK) as free,
                Client([address]) as client,
            ):
                await full.registered()
                await free.registered()
                # Both workers sleep. The only slot of one is reserved as soon
                # as its last request has released it.
                await until(full.slots.reserve)
                for _each in range(4):
                    await client.submit(FUNCTION, b"x", unique="")
                for _each in range(4):
                    free.done(await free.job())
                (status,) = await admin.status(address)
                assert status.queued == status.running
                await until(lambda: not free.asks)

    asyncio.run(scenario())


def test_a_draining_worker_requests_no_jobs() -> None:
    async def scenario() -> None:
        with gearmand() as server:
            address = server.address
            async with running(address, options=QUICK) as worker:
                async with Client([address]) as client:
                    await worker.registered()
                    worker.worker.drain()
                    await until(lambda: not worker.asks)
                    await client.submit(FUNCTION, b"x", background=True)
                    # Three heartbeats pass; a GRAB would come with the first.
                    for _each in range(3):
                        await asyncio.sleep(QUICK.heartbeat)
                        (status,) = await admin.status(address)
                        assert status.running == 0

    asyncio.run(scenario())
