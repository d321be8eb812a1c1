"""Tests of queries of a job server by gearmand's admin protocol."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from poolmgr.errors import TransportError
from poolmgr.gearman import admin
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from tests.gearman_workers import FUNCTION, running
from tests.jobservers import JobServerProcess, gearmand
from tests.peers import closes, is_silent, peer, says


def test_status_counts_jobs_and_workers(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            await client.submit(FUNCTION, b"x")
            await client.submit("other", b"x", background=True)
            await worker.job()
            status = {s.name: s for s in await admin.status(address)}
        assert (status["f"].queued, status["f"].running) == (1, 1)
        assert (status["f"].workers, status["other"].workers) == (1, 0)

    asyncio.run(scenario())


def test_workers_lists_the_connections(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker:
            await worker.registered()
            workers = await admin.workers(address)
        (registered,) = [each for each in workers if each.functions]
        assert (registered.ip, registered.functions) == (
            "127.0.0.1",
            (FUNCTION,),
        )

    asyncio.run(scenario())


def test_show_jobs_lists_the_handles() -> None:
    async def scenario(address: Address) -> None:
        async with Client([address]) as client:
            handles = {(await client.submit(FUNCTION, b"x")).handle}
            handles.add((await client.submit(FUNCTION, b"x")).handle)
            jobs = await admin.show_jobs(address)
        assert jobs == dict.fromkeys(handles, 0)

    with gearmand() as server:
        asyncio.run(scenario(server.address))


@pytest.mark.parametrize(
    ("meet", "words"),
    [
        (says(b"<html>\n.\n"), "not understood: <html>"),
        (says(b"ERR UNKNOWN_COMMAND\r\n"), "not understood: ERR"),
        (says(b"what?\r\n"), "no answer within 1 s"),
        # To look for a row at each tab would take hours.
        (says(b"x\t" * 500_000 + b"\n.\n"), "not understood: x"),
        (is_silent, "within.*may not be a job server"),
        (closes, "may not be a job server"),
    ],
    ids=["html", "error", "endless", "long", "silent", "closes"],
)
def test_querying_a_server_of_another_protocol_fails(
    meet: Callable[[socket.socket], None], words: str
) -> None:
    options = ConnectionOptions(heartbeat=0.3, connect_timeout=1.0)
    with peer(meet) as stranger:
        with pytest.raises(
            TransportError, match=f"{stranger.address}.*{words}"
        ):
            asyncio.run(admin.status(stranger.address, options))
