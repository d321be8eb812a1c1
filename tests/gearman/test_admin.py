"""Asking a job server how it is, by gearmand's admin protocol."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from poolmgr.errors import TransportError
from poolmgr.gearman import Client, ConnectionOptions, admin
from tests.gearman_workers import FUNCTION, running
from tests.jobservers import JobServerProcess
from tests.peers import closes, is_silent, peer, says


def test_it_tells_how_many_jobs_and_workers_a_function_has(
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


def test_it_tells_which_workers_there_are(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker:
            await worker.registered()
            there = await admin.workers(address)
        (able,) = [each for each in there if each.functions]
        assert (able.ip, able.functions) == ("127.0.0.1", (FUNCTION,))

    asyncio.run(scenario())


def test_it_tells_which_jobs_there_are(job_server: JobServerProcess) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with Client([address]) as client:
            handles = {(await client.submit(FUNCTION, b"x")).handle}
            handles.add((await client.submit(FUNCTION, b"x")).handle)
            shown = [job.handle for job in await admin.show_jobs(address)]
        assert len(shown) == 2
        assert set(shown) == handles

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("meet", "words"),
    [
        (says(b"SSH-2.0-x\r\n"), "an SSH server answers there"),
        (says(b"HTTP/1.1 400 Bad Request\r\n"), "an HTTP server"),
        (says(b"<html>\n.\n"), "an HTTP server"),
        (says(b"\x15\x03\x01\0\x02\x02\x46"), "speaks TLS.*ssl_ca"),
        (says(b"what?\r\n\n.\n"), "not understood"),
        (says(b"what?\r\n"), "no answer within 1 s"),
        (is_silent, "within.*may not be a job server"),
        (closes, "may not be a job server"),
    ],
    ids=["ssh", "http", "html", "tls", "odd", "endless", "silent", "closes"],
)
def test_asking_a_server_that_is_not_one_is_an_error(
    meet: Callable[[socket.socket], None], words: str
) -> None:
    options = ConnectionOptions(heartbeat=0.3, connect_timeout=1.0)
    with peer(meet) as odd:
        with pytest.raises(TransportError, match=f"{odd.address}.*{words}"):
            asyncio.run(admin.status(odd.address, options))
