"""A job server with its queue on disk is killed."""

from pathlib import Path

import pytest

from tests.batches import BUILD, job_counts, queue
from tests.jobservers import gearmand
from tests.logs import passed
from tests.polling import until
from tests.processes import worker
from tests.states import State

JOBS = 30
RUNNING = 10


@pytest.mark.parametrize("share", [0.0, 0.4], ids=["booting", "answering"])
def test_a_killed_server_with_a_persistent_queue_leaves_one_device_per_job(
    tmp_path: Path, share: float
) -> None:
    """
    :param share: fraction of the jobs answered before the server is killed
    """
    state = State(tmp_path)
    config = state.config(
        f"[worker]\nlong_jobs = {RUNNING}\nheld_jobs = 0\n",
        boot_time=1,
        boot_spread=0.5,
    )
    options = ("--queue-type=libsqlite3", f"--libsqlite3-db={tmp_path / 'q'}")
    with gearmand(*options) as server:
        uniques = queue(server.address, [BUILD] * JOBS)
        with worker([str(server.address)], config, tmp_path) as process:
            until(lambda: len(state.devices()) >= RUNNING)
            until(lambda: len(passed(process)) >= share * JOBS)
            server.restart()
            until(lambda: job_counts(server.address) == (0, 0))
            until(lambda: passed(process) >= set(uniques))
            until(lambda: state.owned() == sorted(uniques))

    assert [m.state for m in state.marks()].count("building") == 0
