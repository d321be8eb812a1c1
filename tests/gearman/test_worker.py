"""The worker and the client, on gearmand and on the built-in server."""

import asyncio
import contextlib
import functools
import itertools
import random
import signal
import socket
import struct
from collections.abc import AsyncIterator, Callable

import pytest

from poolmgr.errors import TransportError
from poolmgr.gearman import Address, Client, Delivery, LinkOptions, admin
from poolmgr.gearman.protocol import RESPONSE, PacketType, encode
from poolmgr.gearman.server import JobServer
from tests import jobservers
from tests.gearman_workers import FUNCTION, PATIENCE, Running, running, until
from tests.jobservers import JobServerProcess, gearmand
from tests.scarce_threads import without_threads

# -- jobs -------------------------------------------------------------------


def test_200_jobs_in_flight_on_one_connection_end_in_any_order(
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

            for n, job_ in enumerate(submitted):
                assert await job_.result(PATIENCE) == b"answer to %d" % n

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [0, 1, 10 * 1024 * 1024])
def test_payloads_of_any_size_go_there_and_back(
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
            assert await submitted.result(PATIENCE) == payload

    asyncio.run(scenario())


def test_jobs_of_one_unique_are_one_job_and_each_client_is_answered(
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
                assert await each.result(PATIENCE) == b"y"
            again = await one.submit(FUNCTION, b"x", unique="same")
            worker.done(await worker.job(), b"z")
            assert await again.result(PATIENCE) == b"z"

    asyncio.run(scenario())


def test_jobs_without_a_unique_are_jobs_of_their_own(
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


def test_urgent_jobs_come_first(job_server: JobServerProcess) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with Client([address]) as client:
            for priority in ("low", "normal", "high"):
                await client.submit(
                    FUNCTION,
                    priority.encode(),
                    background=True,
                    priority=priority,
                )
            async with running(address, places=1) as worker:
                came = []
                for _ in range(3):
                    job = await worker.job()
                    came.append(job.payload)
                    worker.done(job)
        assert came == [b"high", b"normal", b"low"]

    asyncio.run(scenario())


def test_progress_reaches_the_client(job_server: JobServerProcess) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            submitted = await client.submit(FUNCTION, b"x")
            (await worker.job()).progress(3, 7)
            await until(lambda: submitted.progress == (3, 7))

    asyncio.run(scenario())


def test_a_lost_workers_jobs_come_to_another_under_the_same_names(
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
                assert await submitted.result(PATIENCE) == b"y"

    asyncio.run(scenario())


# -- room -------------------------------------------------------------------


def test_no_more_jobs_are_taken_than_there_is_room_for() -> None:
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
                running(*servers, places=0)
            )
            await worker.registered(3)
            worker.room.release()
            worker.worker.room_freed()
            served = []
            for _ in range(15):
                job = await worker.job()
                served.append(job.server)
                # The server of the job before may not know yet that it ended.
                for _look in range(500):
                    states = [await admin.status(s) for s in servers]
                    if sum(state[0].running for state in states) == 1:
                        break
                    await asyncio.sleep(0.01)
                else:
                    raise AssertionError(states)
                worker.done(job)
            # In turn: none has to wait for another's queue to be empty.
            assert len(set(served[:3])) == 3

    asyncio.run(scenario())


def test_a_worker_that_drains_takes_no_job_but_delivers_its_answers(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            submitted = await client.submit(FUNCTION, b"x")
            job = await worker.job()
            worker.worker.drain()
            await until(lambda: not worker.worker.grabs_outstanding)
            await client.submit(FUNCTION, b"late", background=True)
            (status,) = await admin.status(address)
            assert (status.queued, status.running) == (2, 1)
            worker.done(job, b"y")
            assert await submitted.result(PATIENCE) == b"y"
        (status,) = await admin.status(address)
        assert (status.queued, status.running) == (1, 0)

    asyncio.run(scenario())


# -- deliveries -------------------------------------------------------------


def test_an_answer_that_was_taken_is_known_to_be(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            await client.submit(FUNCTION, b"x")
            assert await told(await worker.job()) is Delivery.DELIVERED

    asyncio.run(scenario())


async def told(job: object) -> Delivery:
    known: asyncio.Future[Delivery] = asyncio.Future()
    job.complete(b"y", known.set_result)  # type: ignore[attr-defined]
    async with asyncio.timeout(PATIENCE):
        return await known


def test_of_100_jobs_just_the_forgotten_one_is_told_to_be_unknown() -> None:
    async def scenario() -> None:
        server = JobServer()
        await server.start()
        outcomes: dict[str, Delivery] = {}
        async with running(server.address) as worker:
            async with Client([server.address]) as client:
                for _ in range(100):
                    await client.submit(FUNCTION, b"x")
                jobs = [await worker.job() for _ in range(100)]
                forgotten = server.jobs.get(jobs[50].raw_handle)
                assert forgotten is not None
                server.jobs.end(forgotten)
                for job in jobs:
                    job.complete(
                        b"y",
                        functools.partial(outcomes.__setitem__, job.handle),
                    )
                await until(lambda: len(outcomes) == 100)
                (link,) = worker.worker.links
                assert (link.state, link.reconnects) == ("up", 0)
        await server.close()
        unknown = [h for h, d in outcomes.items() if d is Delivery.UNKNOWN]
        assert unknown == [jobs[50].handle]
        assert set(outcomes.values()) == {
            Delivery.UNKNOWN,
            Delivery.DELIVERED,
        }

    asyncio.run(scenario())


def test_errors_for_unknown_jobs_do_not_drop_the_link() -> None:
    async def scenario() -> None:
        with gearmand() as server:
            address = server.address
            async with running(address) as worker:
                async with Client([address]) as client:
                    submitted = [
                        await client.submit(FUNCTION, b"%d" % n)
                        for n in range(100)
                    ]
                    jobs = [await worker.job() for _ in range(100)]
                    jobs[7].raw_handle = b"H:nowhere:1"
                    outcome = await told(jobs[7])
                    assert outcome is Delivery.UNKNOWN
                    for n, job in enumerate(jobs):
                        if n != 7:
                            worker.done(job)
                            await submitted[n].result(PATIENCE)
                (link,) = worker.worker.links
                assert (link.state, link.reconnects) == ("up", 0)

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
            async with asyncio.timeout(PATIENCE):
                await lost.wait()
            async with Client([address]) as client:
                submitted = await client.submit(FUNCTION, b"new")
                new = await worker.job()
                assert new.handle == old.handle
                assert await told(old) is Delivery.UNSENT
                worker.done(new, b"answer to new")
                assert await submitted.result(PATIENCE) == b"answer to new"

    asyncio.run(scenario())


# -- servers that misbehave -------------------------------------------------

QUICK = LinkOptions(heartbeat=0.3, connect_timeout=1.0, retry_longest=0.2)


def test_a_stopped_server_is_noticed_by_its_silence(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address, options=QUICK) as worker:
            await worker.registered()
            job_server.signal(signal.SIGSTOP)
            try:
                await until(lambda: worker.worker.links[0].state != "up")
            finally:
                job_server.signal(signal.SIGCONT)
            await worker.registered()

    asyncio.run(scenario())


@contextlib.asynccontextmanager
async def peer(
    greet: Callable[[asyncio.StreamWriter], None],
) -> AsyncIterator[tuple[Address, list[asyncio.StreamWriter]]]:
    """A server that greets whoever connects, and says nothing else."""
    met: list[asyncio.StreamWriter] = []

    async def serve(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        met.append(writer)
        greet(writer)
        with contextlib.suppress(OSError):
            while await reader.read(65536):
                pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Address("127.0.0.1", port), met
    finally:
        server.close()
        for writer in met:
            writer.transport.abort()
        await asyncio.sleep(0)


def nothing(writer: asyncio.StreamWriter) -> None:
    """Stays silent."""


def goodbye(writer: asyncio.StreamWriter) -> None:
    """Closes at once."""
    writer.close()


def saying(data: bytes) -> Callable[[asyncio.StreamWriter], None]:
    return lambda writer: writer.write(data)


@pytest.mark.parametrize(
    "greet",
    [
        nothing,
        goodbye,
        saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        saying(b"\0RES" + struct.pack(">Ii", 6, -1)),
        saying(b"\0RES" + struct.pack(">II", 6, 2**31)),
        saying(b"\0RES" + struct.pack(">II", 99, 0)),
        saying(b"\0RES\0\0"),
        saying(encode(PacketType.NO_JOB, magic=b"\0RES") * 3),
    ],
)
def test_a_server_that_misbehaves_is_retried_and_does_not_hold_up_others(
    greet: Callable[[asyncio.StreamWriter], None],
) -> None:
    async def scenario() -> None:
        with gearmand() as good:
            async with (
                peer(greet) as (bad, met),
                running(bad, good.address, options=QUICK) as worker,
                Client([good.address]) as client,
            ):
                echo = asyncio.create_task(worker.echo())
                submitted = await client.submit(FUNCTION, b"x")
                assert await submitted.result(PATIENCE) == b"x"
                await until(lambda: len(met) > 1)
                states = [link.state for link in worker.worker.links]
                assert states[1] == "up"
                echo.cancel()

    asyncio.run(scenario())


def test_reconnects_to_a_server_that_closes_at_once_are_bounded() -> None:
    options = LinkOptions(retry_first=0.1, retry_longest=5.0)

    async def scenario() -> int:
        async with (
            peer(goodbye) as (address, met),
            running(address, options=options),
        ):
            await asyncio.sleep(2.0)
            return len(met)

    # 0.1 + 0.2 + 0.4 + 0.8 + ..., each at least half of it.
    assert 2 <= asyncio.run(scenario()) <= 6


def test_a_server_that_is_not_there_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    address = Address("127.0.0.1", jobservers.free_port())

    async def scenario() -> None:
        async with running(address, options=QUICK) as worker:
            await until(lambda: worker.worker.links[0].reconnects > 3)

    asyncio.run(scenario())

    said = [r for r in caplog.records if str(address) in r.getMessage()]
    assert len(said) == 1


def test_a_server_that_fails_now_thus_now_so_is_told_of_once_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    turns = itertools.cycle([b"SSH-", b"HTTP"])

    def greet(writer: asyncio.StreamWriter) -> None:
        writer.write(next(turns) + b"/1.1 400 Bad Request")

    async def scenario() -> None:
        async with peer(greet) as (address, met):
            async with running(address, options=QUICK):
                await until(lambda: len(met) > 6)

    asyncio.run(scenario())

    said = [r.getMessage() for r in caplog.records]
    assert [("SSH" in line, "HTTP" in line) for line in said] == [
        (True, False),
        (False, True),
    ]


# -- the client -------------------------------------------------------------


def test_a_client_takes_the_first_server_that_can_be_reached(
    job_server: JobServerProcess,
) -> None:
    dead = Address("127.0.0.1", jobservers.free_port())

    async def scenario() -> None:
        address = job_server.address
        async with (
            running(address) as worker,
            Client([dead, address]) as client,
        ):
            submitted = await client.submit(FUNCTION, b"x")
            worker.done(await worker.job())
            assert await submitted.result(PATIENCE) == b"x"
        with pytest.raises(TransportError, match=str(dead)):
            async with Client([dead]):
                pass

    asyncio.run(scenario())


def test_a_client_whose_link_is_lost_is_told(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        async with Client([job_server.address]) as client:
            submitted = await client.submit(FUNCTION, b"x")
            job_server.kill()
            with pytest.raises(TransportError):
                await submitted.result(PATIENCE)
            with pytest.raises(TransportError):
                await client.submit(FUNCTION, b"x")

    asyncio.run(scenario())


# -- the admin protocol -----------------------------------------------------


def test_the_admin_protocol_tells_of_queues_and_workers(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            job = await client.submit(FUNCTION, b"x")
            await client.submit("other", b"x", background=True)
            await worker.job()
            status = {s.name: s for s in await admin.status(address)}
            assert (status["f"].queued, status["f"].running) == (1, 1)
            assert (status["f"].workers, status["other"].workers) == (1, 0)
            able = [w for w in await admin.workers(address) if w.functions]
            assert [w.functions for w in able] == [(FUNCTION,)]
            assert able[0].ip == "127.0.0.1"
            jobs = await admin.show_jobs(address)
            assert [j.handle for j in jobs].count(job.handle) == 1
            assert await admin.version(address)
            assert not await admin.cancel_job(address, "H:nowhere:1")
            assert await admin.cancel_job(address, job.handle)
            with pytest.raises(TransportError):
                await job.result(PATIENCE)

    asyncio.run(scenario())


def test_asking_a_server_that_is_not_one_is_an_error() -> None:
    async def scenario() -> None:
        async with peer(saying(b"SSH-2.0-x\r\n\n.\n")) as (address, _met):
            with pytest.raises(TransportError, match=str(address)):
                await admin.status(address, QUICK)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = Address("127.0.0.1", silent.getsockname()[1])
            with pytest.raises(TransportError, match=rf"{address}.*within"):
                await admin.status(address, QUICK)

    asyncio.run(scenario())


def test_who_gave_up_asking_keeps_no_job_from_hearing_of_a_lost_link() -> None:
    taken = asyncio.Event()

    async def serve(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # It takes jobs, and answers no question for them.
        await reader.readuntil(b"exceptions")
        writer.write(
            encode(PacketType.OPTION_RES, b"exceptions", magic=RESPONSE)
        )
        await reader.readuntil(b"payload")
        writer.write(encode(PacketType.JOB_CREATED, b"H:1", magic=RESPONSE))
        await taken.wait()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, Client([Address("127.0.0.1", port)]) as client:
            job = await client.submit(FUNCTION, b"payload")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.has(handle="H:1")
            taken.set()
            with pytest.raises(TransportError, match="closed by the job"):
                await job.result(PATIENCE)

    asyncio.run(scenario())


def test_a_name_that_cannot_be_looked_up_for_want_of_a_thread_is_tried_again(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        options = LinkOptions(retry_first=0.05)
        address = Address("localhost", job_server.address.port)
        with without_threads("gearman-resolver", times=2) as refused:
            async with running(address, options=options) as worker:
                await worker.registered()
                (status,) = worker.worker.links
        assert status.last_error == "can't start new thread"
        assert len(refused) == 2

    asyncio.run(scenario())


def test_a_name_that_is_no_text_is_no_jobs(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        async with Client([job_server.address]) as client:
            assert not await client.has(unique="\ud800")
            assert not await client.has(handle="\ud800")

    asyncio.run(scenario())
