"""Clients that submit jobs while the test continues."""

import asyncio
import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from poolmgr.gearman import admin
from poolmgr.gearman.client import Client, SubmittedJob
from poolmgr.gearman.endpoint import Address, ConnectionOptions

FUNCTION = "libra_pool_mgm"
TIMEOUT = 120.0

BUILD = {"action": "BUILD_DEVICE"}
BUILD_IP = {"action": "BUILD_IP"}

Answer = dict[str, Any]
Answers = list[Answer]


class Batch:
    """A client that submits jobs together and waits for the answers.

    :ivar uniques: of each job
    :ivar handles: of each job, once :meth:`submitted`
    """

    def __init__(
        self,
        server: Address,
        messages: Sequence[object],
        uniques: Sequence[str] | None = None,
        options: ConnectionOptions | None = None,
    ) -> None:
        self.uniques = uniques or [str(uuid.uuid4()) for _ in messages]
        self.handles: list[str] = []
        self._server = server
        self._payloads = [
            message
            if isinstance(message, bytes)
            else json.dumps(message).encode()
            for message in messages
        ]
        self._options = options
        self._results: list[bytes | BaseException] = []
        self._error: BaseException | None = None
        self._has_submitted = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._run())
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def submitted(self) -> None:
        """Wait until the job server has accepted all jobs."""
        assert self._has_submitted.wait(TIMEOUT)
        if self._error is not None:
            raise self._error

    def results(self) -> list[bytes | BaseException]:
        """Return each job's answer or error, once all are known."""
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive(), "not all jobs were answered"
        if self._error is not None:
            raise self._error
        return self._results

    def answers(self) -> Answers:
        """Return the answers; fail unless every job has one."""
        answers = []
        for result in self.results():
            if isinstance(result, BaseException):
                raise result
            answers.append(json.loads(result))
        return answers

    def passes(self) -> Answers:
        """Return the answers; fail unless each is a PASS."""
        answers = self.answers()
        responses = {answer["response"] for answer in answers}
        assert responses == {"PASS"}, answers
        return answers

    def close(self) -> None:
        """Disconnect, even while jobs are unanswered."""
        # The loop may have ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(TIMEOUT)

    def _work(self) -> None:
        try:
            with suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._task)
        except BaseException as error:
            self._error = error
        finally:
            self._loop.close()
            self._has_submitted.set()

    async def _run(self) -> None:
        async with Client([self._server], self._options) as client:
            jobs: list[SubmittedJob] = await asyncio.gather(
                *(
                    client.submit(FUNCTION, payload, unique=unique)
                    for payload, unique in zip(
                        self._payloads, self.uniques, strict=True
                    )
                )
            )
            self.handles = [job.handle for job in jobs]
            self._has_submitted.set()
            self._results = list(
                await asyncio.gather(
                    *(job.result(TIMEOUT) for job in jobs),
                    return_exceptions=True,
                )
            )


@contextmanager
def batch(
    server: Address,
    messages: Sequence[object],
    uniques: Sequence[str] | None = None,
    options: ConnectionOptions | None = None,
) -> Iterator[Batch]:
    """Submit jobs and stay connected while the block runs."""
    jobs = Batch(server, messages, uniques, options)
    try:
        jobs.submitted()
        yield jobs
    finally:
        jobs.close()


def submit(
    server: Address, *messages: object, uniques: Sequence[str] = ()
) -> Callable[[], Answers]:
    """Submit jobs in the background; return a future of the answers.

    :param uniques: the jobs' uniques; new ones if empty
    """
    return Batch(server, messages, uniques).answers


def ask(server: Address, message: object = BUILD_IP) -> Answer:
    """Submit one job and return its answer."""
    with batch(server, [message]) as jobs:
        return jobs.answers()[0]


async def _queue(server: Address, payloads: Sequence[bytes]) -> list[str]:
    uniques = [str(uuid.uuid4()) for _ in payloads]
    async with Client([server]) as client:
        await asyncio.gather(
            *(
                client.submit(FUNCTION, p, unique=unique, background=True)
                for p, unique in zip(payloads, uniques, strict=True)
            )
        )
    return uniques


def queue(server: Address, messages: Sequence[object]) -> list[str]:
    """Submit background jobs and return their uniques."""
    payloads = [json.dumps(message).encode() for message in messages]
    return asyncio.run(_queue(server, payloads))


def job_counts(server: Address) -> tuple[int, int]:
    """Return the numbers of a server's unfinished and running jobs."""
    for function in asyncio.run(admin.status(server)):
        if function.name == FUNCTION:
            return function.queued, function.running
    return 0, 0


def running(server: Address) -> int:
    """Return the number of jobs at the workers."""
    return job_counts(server)[1]


def cancel(server: Address, handle: str) -> bool:
    """Cancel a job as an administrator; return whether it existed."""
    where = server.host, server.port
    with socket.create_connection(where, TIMEOUT) as sock:
        sock.sendall(f"cancel job {handle}\n".encode())
        return sock.recv(1000).startswith(b"OK")
