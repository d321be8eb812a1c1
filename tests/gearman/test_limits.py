"""Tests of edge cases of the protocol with both job servers."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from poolmgr.errors import RequestError
from poolmgr.gearman import admin
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.gearman.protocol import PacketType
from tests.gearman.raw import RawPeer
from tests.gearman_workers import FUNCTION, TIMEOUT, running
from tests.jobservers import JobServerProcess, gearmand
from tests.peers import black_hole, closes, peer

PAYLOAD = b'{"n": 1}'


@pytest.fixture
def server() -> Iterator[JobServerProcess]:
    """Run Debian's gearmand."""
    with gearmand() as server:
        yield server


@pytest.mark.parametrize("size", [1, 62, 63, 64])
def test_payloads_are_complete_with_uniques_of_any_length(
    job_server: JobServerProcess, size: int
) -> None:
    async def scenario() -> None:
        address = job_server.address
        with RawPeer(address) as client:
            async with running(address) as worker:
                client.send(
                    PacketType.SUBMIT_JOB,
                    FUNCTION.encode(),
                    b"u" * size,
                    PAYLOAD,
                )
                job = await worker.job()
                assert job.payload == PAYLOAD
                assert job.unique.startswith("u" * min(size, 63))
                worker.done(job, b"answer")
            (handle,) = client.receive().args
            assert client.receive().args == [handle, b"answer"]

    asyncio.run(scenario())


def test_jobs_with_truncated_uniques_are_distinguished(
    server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        with RawPeer(server.address) as client:
            for last in (b"1", b"2"):
                unique = b"u" * 63 + last
                client.ask(PacketType.SUBMIT_JOB, b"f", unique, PAYLOAD)
            async with running(server.address) as worker:
                jobs = [await worker.job() for _each in range(2)]
        assert len({job.unique for job in jobs}) == 2

    asyncio.run(scenario())


def test_a_truncated_unique_stays_the_same_on_redelivery(
    server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        with RawPeer(server.address) as client:
            client.ask(PacketType.SUBMIT_JOB, b"f", b"u" * 64, PAYLOAD)
            names = []
            for _delivery in range(2):
                async with running(server.address) as worker:
                    names.append((await worker.job()).unique)
        assert names[0] == names[1]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("unique", "words"),
    [("u" * 64, "64 bytes"), ("ü" * 32, "64 bytes"), ("a\0b", "NUL")],
)
def test_a_client_refuses_a_unique_that_gearmand_would_change(
    job_server: JobServerProcess, unique: str, words: str
) -> None:
    async def scenario() -> None:
        async with Client([job_server.address]) as client:
            with pytest.raises(RequestError, match=words):
                await client.submit(FUNCTION, PAYLOAD, unique=unique)
            # The connection still works.
            await client.submit(FUNCTION, PAYLOAD, unique="u" * 63)

    asyncio.run(scenario())


def test_a_job_with_a_truncated_unique_is_found_by_its_handle(
    server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        with RawPeer(server.address) as client:
            client.ask(PacketType.SUBMIT_JOB, b"f", b"u" * 64, PAYLOAD)
            async with (
                running(server.address) as worker,
                Client([server.address]) as asking,
            ):
                job = await worker.job()
                assert await asking.has(unique=job.unique, handle=job.handle)
                assert not await asking.has(unique=job.unique, handle="H:x:1")

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [63, 64, 65, 5000])
def test_has_accepts_names_of_any_length(
    server: JobServerProcess, size: int
) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(TIMEOUT):
            async with Client([server.address]) as client:
                assert not await client.has(unique="u" * size)
                assert not await client.has(handle="h" * size)
                assert not await client.has(unique="u" * size, handle="H:x:1")

    asyncio.run(scenario())


UNUSUAL_NAMES = [
    b"a\nb",
    b"a\r\nb",
    b"a\tb",
    b"a b",
    b" a ",
    b"a\t1\t2\t3",
    b".",
    b"a\n.\nb",
    b".\n.\n",
    b"\n",
    b"\xff\xfe",
    b"a : b",
    b"5 192.0.2.1 a : b",
    b"f" * 600,
]


def test_unusual_names_do_not_hide_other_queues_and_workers(
    server: JobServerProcess,
) -> None:
    with ExitStack() as stack:
        for name in UNUSUAL_NAMES:
            other = stack.enter_context(RawPeer(server.address))
            other.send(PacketType.CAN_DO, name)
            other.send(PacketType.SET_CLIENT_ID, name)
            other.ask(PacketType.ECHO_REQ, b"")
            other.ask(PacketType.SUBMIT_JOB_BG, name, name[:60], PAYLOAD)
        ours = stack.enter_context(RawPeer(server.address))
        ours.send(PacketType.CAN_DO, b"ours")
        ours.send(PacketType.SET_CLIENT_ID, b"our-worker")
        ours.ask(PacketType.SUBMIT_JOB_BG, b"ours", b"u", PAYLOAD)

        functions = asyncio.run(admin.status(server.address))
        workers = asyncio.run(admin.workers(server.address))
        jobs = asyncio.run(admin.show_jobs(server.address))

    (queue,) = [each for each in functions if each.name == "ours"]
    assert (queue.queued, queue.running, queue.workers) == (1, 0, 1)
    assert len(functions) == len(UNUSUAL_NAMES) + 1
    (worker,) = [each for each in workers if each.client_id == "our-worker"]
    assert worker.functions == ("ours",)
    assert len(jobs) == len(UNUSUAL_NAMES) + 1


def name_of(monkeypatch: pytest.MonkeyPatch, *addresses: Address) -> Address:
    """Return a host name that resolves to these addresses."""

    def resolve(*args: object, **kwargs: object) -> list[object]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (each.host, each.port)) for each in addresses]

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    return Address("gearman.example.com")


def test_a_responsive_address_of_a_name_is_used(
    monkeypatch: pytest.MonkeyPatch, server: JobServerProcess
) -> None:
    """The worker, the client and the queries use it."""
    options = ConnectionOptions(connect_timeout=100 * TIMEOUT)

    async def scenario(name: Address) -> None:
        async with asyncio.timeout(TIMEOUT):
            async with running(name, options=options) as worker:
                await worker.registered()
            async with Client([name], options):
                pass
            await admin.status(name, options)

    with black_hole() as silent:
        asyncio.run(scenario(name_of(monkeypatch, silent, server.address)))


def test_another_address_is_used_if_one_closes_connections(
    monkeypatch: pytest.MonkeyPatch, server: JobServerProcess
) -> None:
    async def scenario(name: Address) -> None:
        async with running(name) as worker:
            await worker.registered()

    with peer(closes) as closing:
        name = name_of(monkeypatch, closing.address, server.address)
        asyncio.run(scenario(name))
