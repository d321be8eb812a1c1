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
from tests.polling import until
from tests.processes import worker
from tests.states import NEVER, State

PRIORITIES: dict[str, Priority] = {
    "running": "normal",
    "high": "high",
    "normal": "normal",
    "low": "low",
}
ONE_BUILD = "[worker]\nlong_jobs = 1\n"


def test_prefetched_builds_of_a_disconnected_client_are_dropped(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    config = state.config(ONE_BUILD, boot_time=0.5)
    with worker([str(job_server.address)], config, tmp_path) as process:
        process.wait_for("registered")
        with batch(job_server.address, [BUILD] * 8) as first:
            until(lambda: job_counts(job_server.address) == (8, 8))
            with batch(job_server.address, [BUILD] * 2) as second:
                until(lambda: job_counts(job_server.address)[1] >= 9)
                first.close()
                second.passes()
        until(lambda: job_counts(job_server.address) == (0, 0))

    # At most three builds of the disconnected client were running or done.
    assert len(state.devices()) <= 5
    assert any("its client has gone" in line for line in process.lines)


def test_a_prefetched_build_is_kept_while_one_of_its_clients_remains(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    config = state.config(ONE_BUILD, boot_time=0.5)
    server = job_server.address
    with worker([str(server)], config, tmp_path) as process:
        process.wait_for("registered")
        with (
            batch(server, [BUILD] * 3, ["a", "b", "c"]) as first,
            batch(server, [BUILD] * 2, ["b", "c"]) as second,
        ):
            until(lambda: job_counts(server)[1] >= 2)
            first.close()
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
    config = state.config(ONE_BUILD, boot_time=NEVER)
    names = [
        *("running", "low-1", "low-2", "normal-1", "high-1"),
        *("low-3", "normal-2", "high-2"),
    ]

    async def submit(server: Address) -> None:
        """Submit each build after the worker has taken the one before."""
        payload = json.dumps(BUILD).encode()
        async with Client([server]) as client:
            for number, name in enumerate(names, 1):
                await client.submit(
                    FUNCTION,
                    payload,
                    unique=name,
                    background=True,
                    priority=PRIORITIES[name.partition("-")[0]],
                )
                while (await admin.status(server))[0].running < number:
                    await asyncio.sleep(0.01)

    started: list[str] = []

    def another_has_started() -> bool:
        uniques = {m.unique for m in state.marks() if m.unique not in started}
        started.extend(uniques)
        return bool(uniques)

    with (
        gearmand() as server,
        worker([str(server.address)], config, tmp_path) as process,
    ):
        process.wait_for("registered")
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
    config = state.config(ONE_BUILD, boot_time=0.5)
    with gearmand(f"--job-retries={retries}") as server:
        with worker([str(server.address)], config, tmp_path) as process:
            process.wait_for("registered")
            with batch(server.address, [BUILD] * 6) as jobs:
                until(lambda: job_counts(server.address) == (6, 6))
                process.signal(signal.SIGTERM)
                jobs.passes()
            assert process.exit_code() == 0


def test_another_worker_answers_short_jobs_while_one_drains(
    tmp_path: Path,
) -> None:
    state = State(tmp_path)
    config = state.config(ONE_BUILD, boot_time=0.5)
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
                    jobs.passes()
