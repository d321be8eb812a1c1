"""A worker with a hundred builds in flight loses its connection."""

from pathlib import Path

import pytest

from tests.batches import BUILD, batch
from tests.jobservers import JobServerProcess
from tests.logs import executions, registrations
from tests.polling import until
from tests.processes import worker
from tests.relays import relay
from tests.states import State, require_one_device_per_job

JOBS = 100


def concurrent_builds(state: State) -> str:
    """Return the configuration of a worker that runs all builds together."""
    return state.config(
        f"[worker]\nlong_jobs = {JOBS}\n", boot_time=2, boot_spread=1
    )


@pytest.mark.parametrize("share", [0.0, 0.3], ids=["booting", "answering"])
def test_a_lost_connection_leaves_one_device_per_job(
    job_server: JobServerProcess, tmp_path: Path, share: float
) -> None:
    """
    :param share: fraction of the jobs that are answered before the cut
    """
    state = State(tmp_path)
    config = concurrent_builds(state)
    with relay(job_server.address) as between:
        with worker([str(between.address)], config, tmp_path) as process:
            process.wait_for("registered")
            with batch(job_server.address, [BUILD] * JOBS) as jobs:
                until(lambda: len(state.devices()) == JOBS)
                until(lambda: len(executions(process)) >= share * JOBS)
                between.cut()
                answers = jobs.passes()
            until(lambda: registrations(process) == 2)

    require_one_device_per_job(state, jobs, answers)
    times = executions(process)
    assert set(times) == set(jobs.uniques)
    assert max(times.values()) <= 2


def test_repeatedly_lost_connections_leave_one_device_per_job(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    config = concurrent_builds(state)
    with relay(job_server.address) as between:
        with worker([str(between.address)], config, tmp_path) as process:
            process.wait_for("registered")
            with batch(job_server.address, [BUILD] * JOBS) as jobs:
                for _cut in range(5):
                    between.cut()
                    process.wait_for("registered")
                answers = jobs.passes()

    require_one_device_per_job(state, jobs, answers)
