"""Prefetched builds: their clients, priorities and retries."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from poolmgr.gearman import admin
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address
from poolmgr.gearman.protocol import Priority
from tests.batches import (
    BUILD,
    FUNCTION,
    TIMEOUT,
    ask,
    batch,
    job_counts,
    queue,
)
from tests.jobservers import JobServerProcess, gearmand
from tests.matrix.packets import PacketFilter
from tests.polling import until
from tests.processes import worker
from tests.relays import relay
from tests.states import NEVER, State

PRIORITIES: dict[str, Priority] = {
    "running": "normal",
    "high": "high",
    "normal": "normal",
    "low": "low",
}
ONE_BUILD = "[worker]\nlong_jobs = 1\n"
#: A worker's message that it sleeps until the job server has a job.
PRE_SLEEP = b"\0REQ\0\0\0\x04"


def boot_all(state: State, server: Address) -> None:
    """Finish the boot of each device that is created, until no job is left."""

    def is_idle() -> bool:
        state.boot()
        return job_counts(server) == (0, 0)

    until(is_idle)


def test_prefetched_builds_of_a_disconnected_client_are_dropped(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    config = state.config(ONE_BUILD, boot_time=NEVER)
    server = job_server.address
    with worker([str(server)], config, tmp_path) as process:
        process.wait_for("registered")
        with batch(server, [BUILD] * 8) as first:
            until(lambda: job_counts(server) == (8, 8))
            with batch(server, [BUILD] * 2) as second:
                until(lambda: job_counts(server)[1] >= 9)
                first.close()
                boot_all(state, server)
                second.passes()

    # At most three builds of the disconnected client were running or done.
    assert len(state.devices()) <= 5
    assert any("its client has gone" in line for line in process.lines)


def test_a_prefetched_build_is_kept_while_one_of_its_clients_remains(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    config = state.config(ONE_BUILD, boot_time=NEVER)
    server = job_server.address
    with worker([str(server)], config, tmp_path) as process:
        process.wait_for("registered")
        with (
            batch(server, [BUILD] * 3, ["a", "b", "c"]) as first,
            batch(server, [BUILD] * 2, ["b", "c"]) as second,
        ):
            until(lambda: job_counts(server)[1] >= 2)
            first.close()
            boot_all(state, server)
            second.passes()


def test_prefetched_background_builds_run(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    config = state.config(ONE_BUILD, boot_time=0.1)
    with worker([str(job_server.address)], config, tmp_path) as process:
        process.wait_for("registered")
        queue(job_server.address, [BUILD] * 5)
        until(lambda: len(state.devices()) == 5)


def test_prefetched_builds_start_by_priority(
    tmp_path: Path,
) -> None:
    state = State(tmp_path)
    # A heartbeat asks for jobs as well.
    never = f"[gearman]\nheartbeat = {NEVER}\n"
    config = state.config(ONE_BUILD + never, boot_time=NEVER)
    names = [
        *("running", "low-1", "low-2", "normal-1", "high-1"),
        *("low-3", "normal-2", "high-2"),
    ]

    slept: list[bytes] = []

    def count_sleeps(packet: bytes) -> bytes:
        if packet.startswith(PRE_SLEEP):
            slept.append(packet)
        return packet

    async def submit(server: Address) -> None:
        """Submit each build once the worker has taken the one before.

        The worker counts the queued jobs of each priority before it asks for
        one. It would not know the priority of a job submitted in between, so
        it has to sleep first.
        """
        payload = json.dumps(BUILD).encode()
        async with Client([server]) as client:
            for number, name in enumerate(names, 1):
                before = len(slept)
                await client.submit(
                    FUNCTION,
                    payload,
                    unique=name,
                    background=True,
                    priority=PRIORITIES[name.partition("-")[0]],
                )
                while (await admin.status(server))[0].running < number:
                    await asyncio.sleep(0.01)
                while len(slept) == before:
                    await asyncio.sleep(0.01)

    started: list[str] = []

    def another_has_started() -> bool:
        uniques = {m.unique for m in state.marks() if m.unique not in started}
        started.extend(uniques)
        return bool(uniques)

    with (
        gearmand() as server,
        relay(server.address, PacketFilter(count_sleeps)) as between,
        worker([str(between.address)], config, tmp_path),
    ):
        until(lambda: slept)
        asyncio.run(asyncio.wait_for(submit(server.address), TIMEOUT))
        for _each in names:
            until(another_has_started)
            state.boot(started[-1:])

    assert started == [
        *("running", "high-1", "high-2", "normal-1", "normal-2"),
        *("low-1", "low-2", "low-3"),
    ]


@pytest.mark.parametrize("retries", [0, 1])
def test_prefetched_builds_keep_their_retries_while_draining(
    tmp_path: Path, retries: int
) -> None:
    state = State(tmp_path)
    config = state.config(ONE_BUILD, boot_time=NEVER)
    with gearmand(f"--job-retries={retries}") as server:
        with worker([str(server.address)], config, tmp_path) as process:
            process.wait_for("registered")
            with batch(server.address, [BUILD] * 6) as jobs:
                until(lambda: job_counts(server.address) == (6, 6))
                process.signal(signal.SIGTERM)
                process.wait_for("draining, 1 of ")
                boot_all(state, server.address)
                jobs.passes()
            assert process.exit_code() == 0


def test_another_worker_answers_short_jobs_while_one_drains(
    tmp_path: Path,
) -> None:
    state = State(tmp_path)
    config = state.config(ONE_BUILD, boot_time=NEVER)
    folder = tmp_path / "next"
    folder.mkdir()
    with gearmand("--job-retries=1") as server:
        servers = [str(server.address)]
        with worker(servers, config, tmp_path) as process:
            process.wait_for("registered")
            with batch(server.address, [BUILD] * 6) as jobs:
                until(lambda: job_counts(server.address) == (6, 6))
                process.signal(signal.SIGTERM)
                with worker(servers, config, folder) as other:
                    other.wait_for("registered")
                    assert ask(server.address)["response"] == "PASS"
                    boot_all(state, server.address)
                    jobs.passes()
