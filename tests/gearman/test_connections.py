"""Tests of reconnecting and its log messages.

Misbehaving servers are in ``tests/matrix``.
"""

import asyncio
import itertools
import signal
import socket
import time

import pytest

from poolmgr.errors import TransportError
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from tests.gearman_workers import FUNCTION, TIMEOUT, running, until
from tests.jobservers import JobServerProcess, free_port
from tests.peers import peer, says
from tests.relays import relay

QUICK = ConnectionOptions(
    heartbeat=0.3, connect_timeout=1.0, retry_longest=0.2
)


def test_a_stopped_server_is_noticed_and_reconnected(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address, options=QUICK) as worker:
            await worker.registered()
            job_server.signal(signal.SIGSTOP)
            try:
                await until(lambda: worker.worker.connections[0].state != "up")
            finally:
                job_server.signal(signal.SIGCONT)
            await worker.registered()

    asyncio.run(scenario())


def test_a_long_answer_over_a_slow_link_keeps_the_connection(
    job_server: JobServerProcess,
) -> None:
    answer = b"x" * 4_000_000

    # On a busy machine the relay may stand still for a moment.
    options = ConnectionOptions(heartbeat=1.0)

    def slow_down(data: bytes) -> bytes:
        time.sleep(len(data) / 1_000_000)
        return data

    async def scenario() -> None:
        with relay(job_server.address, to_server=slow_down) as link:
            async with (
                running(link.address, options=options) as worker,
                Client([job_server.address]) as client,
            ):
                await worker.registered()
                submitted = await client.submit(FUNCTION, b"")
                (await worker.job()).complete(answer)
                assert await submitted.result(TIMEOUT) == answer
                assert not worker.worker.connections[0].reconnects

    asyncio.run(scenario())


def test_an_unreachable_server_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    address = Address("127.0.0.1", free_port())

    async def scenario() -> None:
        async with running(address, options=QUICK) as worker:
            await until(lambda: worker.worker.connections[0].reconnects > 3)

    asyncio.run(scenario())

    messages = [r for r in caplog.records if str(address) in r.getMessage()]
    assert len(messages) == 1


def test_alternating_errors_are_logged_once_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    greetings = itertools.cycle([b"SSH-", b"HTTP"])

    def greet(sock: socket.socket) -> None:
        sock.sendall(next(greetings) + b"/1.1 400 Bad Request")

    async def scenario() -> None:
        with peer(greet) as stranger:
            async with running(stranger.address, options=QUICK):
                await until(lambda: len(stranger.times) > 6)

    asyncio.run(scenario())

    messages = [r.getMessage() for r in caplog.records]
    assert [("SSH" in line, "HTTP" in line) for line in messages] == [
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"\x15\x03\x01\0\x02\x02\x46", "or speak only TLS"),
        (b"SSH-2.0-x\r\n", "not understood: SSH-"),
        (b"", "it may not be a job server"),
    ],
    ids=["tls", "ssh", "silent"],
)
def test_a_server_of_another_protocol_is_logged(
    greeting: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        with peer(says(greeting)) as stranger:
            async with running(stranger.address, options=QUICK):
                await until(lambda: words in caplog.text)
            with pytest.raises(TransportError, match=words):
                async with Client([stranger.address], QUICK):
                    pass

    asyncio.run(scenario())
