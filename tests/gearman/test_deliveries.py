"""What became of an answer is known, and it reaches no other job."""

import asyncio
import functools

from poolmgr.gearman import AnswerStatus, Assignment, Client
from tests.gearman_workers import FUNCTION, TIMEOUT, running, until
from tests.jobservers import JobServerProcess


async def told(job: Assignment) -> AnswerStatus:
    """Answer a job; what became of the answer."""
    known: asyncio.Future[AnswerStatus] = asyncio.Future()
    job.complete(b"y", known.set_result)
    async with asyncio.timeout(TIMEOUT):
        return await known


def test_an_answer_that_was_taken_is_known_to_be(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        async with running(address) as worker, Client([address]) as client:
            await client.submit(FUNCTION, b"x")
            assert await told(await worker.job()) is AnswerStatus.DELIVERED

    asyncio.run(scenario())


def test_of_100_answers_just_that_of_an_unknown_job_is_told_to_be_unknown(
    job_server: JobServerProcess,
) -> None:
    async def scenario() -> None:
        address = job_server.address
        outcomes: dict[int, AnswerStatus] = {}
        async with running(address) as worker, Client([address]) as client:
            submitted = [
                await client.submit(FUNCTION, b"%d" % n) for n in range(100)
            ]
            jobs = [await worker.job() for _ in range(100)]
            unknown = jobs[50].handle
            jobs[50].raw_handle = b"H:nowhere:1"
            # All at once: an error does not say of which answer it is.
            for n, job in enumerate(jobs):
                job.complete(
                    job.payload,
                    functools.partial(outcomes.__setitem__, n),
                )
            await until(lambda: len(outcomes) == 100)
            for n, each in enumerate(submitted):
                if each.handle != unknown:
                    assert await each.result(TIMEOUT) == b"%d" % n
            (connection,) = worker.worker.statuses
        assert [
            n for n in outcomes if outcomes[n] is AnswerStatus.UNKNOWN
        ] == [50]
        assert set(outcomes.values()) == {
            AnswerStatus.UNKNOWN,
            AnswerStatus.DELIVERED,
        }
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
                assert await told(old) is AnswerStatus.UNSENT
                worker.done(new, b"answer to new")
                assert await submitted.result(TIMEOUT) == b"answer to new"

    asyncio.run(scenario())
