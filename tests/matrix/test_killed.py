"""A job server is killed at various moments."""

import threading
from pathlib import Path

from poolmgr.errors import TransportError
from tests.batches import BUILD, BUILD_IP, TIMEOUT, ask, batch
from tests.jobservers import JobServerProcess, gearmand
from tests.logs import executions, registrations
from tests.polling import until
from tests.processes import worker
from tests.relays import JOB_ASSIGN_UNIQ, relay
from tests.states import (
    NEVER,
    ONE_SLOT,
    State,
    require_one_device_per_job,
)


def test_a_server_killed_while_idle_is_served_again(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    # With one slot, a leaked slot would block the next job.
    config = State(tmp_path).config(ONE_SLOT)
    with worker([str(job_server.address)], config, tmp_path) as process:
        for number in range(1, 4):
            process.wait_for("connected and registered")
            assert ask(job_server.address, BUILD)["response"] == "PASS"
            assert ask(job_server.address)["response"] == "PASS"
            assert registrations(process) == number
            job_server.restart()


def test_a_server_killed_during_a_job_leaves_one_owned_device(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    # The first build continues without a client. The client's second
    # submission is a new job.
    config = state.config("[worker]\nlong_jobs = 2\n", boot_time=NEVER)
    with worker([str(job_server.address)], config, tmp_path) as process:
        process.wait_for("registered")
        with batch(job_server.address, [BUILD]) as first:
            until(lambda: len(state.devices()) == 1)
            job_server.kill()
            (lost,) = first.results()
            assert isinstance(lost, TransportError)
        job_server.start()
        with batch(job_server.address, [BUILD]) as second:
            until(lambda: len(state.devices()) == 2)
            state.boot([*first.uniques, *second.uniques])
            (answer,) = second.passes()
        until(lambda: sum(executions(process).values()) == 2)

    assert state.owners() == {answer["name"]: second.uniques[0]}
    # The other device is an orphan for the reaper.
    assert len(state.devices()) == 2


class FirstJob:
    """A relay filter that withholds the first job from the worker.

    :param instead: sent in its place; None closes the connection
    :ivar arrived: set when the job arrives
    """

    def __init__(self, instead: bytes | None) -> None:
        self.arrived = threading.Event()
        self._instead = instead

    def __call__(self, data: bytes) -> bytes | None:
        """Filter data on its way to the worker."""
        if self.arrived.is_set() or JOB_ASSIGN_UNIQ not in data:
            return data
        self.arrived.set()
        return self._instead


def test_a_server_killed_between_grab_and_assignment_frees_the_slot(
    tmp_path: Path,
) -> None:
    state = State(tmp_path)
    job = FirstJob(b"")
    with gearmand() as server, relay(server.address, to_worker=job) as between:
        config = state.config(ONE_SLOT)
        with worker([str(between.address)], config, tmp_path) as process:
            process.wait_for("registered")
            # gearmand may assign the job before it confirms it to the
            # client; kill it when it has done both.
            with batch(server.address, [BUILD]) as lost:
                assert job.arrived.wait(TIMEOUT)
                server.kill()
                (result,) = lost.results()
            assert isinstance(result, TransportError)
            server.start()
            process.wait_for("registered")
            # The worker never learned the kind of the lost job.
            answers = [ask(server.address, m) for m in (BUILD, BUILD_IP)]

            until(lambda: sum(executions(process).values()) == 2)
    assert {answer["response"] for answer in answers} == {"PASS"}
    assert len(state.owned()) == len(state.marks()) == 2


def test_a_job_lost_on_its_way_to_the_worker_is_redelivered(
    tmp_path: Path,
) -> None:
    state = State(tmp_path)
    # The server is alive and notices the lost connection.
    cut = FirstJob(None)
    with gearmand() as server, relay(server.address, to_worker=cut) as between:
        config = state.config(ONE_SLOT)
        with worker([str(between.address)], config, tmp_path) as process:
            process.wait_for("registered")
            with batch(server.address, [BUILD]) as jobs:
                answers = jobs.passes()

            until(lambda: executions(process) == {jobs.uniques[0]: 1})
            assert ask(server.address)["response"] == "PASS"
            until(lambda: registrations(process) == 2)
    require_one_device_per_job(state, jobs, answers)
