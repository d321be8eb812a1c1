"""A job server that is killed, whatever it was at."""

import threading
from pathlib import Path

from poolmgr.errors import TransportError
from tests.jobservers import JobServerProcess, gearmand
from tests.matrix.batches import BUILD, BUILD_IP, TIMEOUT, ask, batch
from tests.matrix.logs import executions, registrations
from tests.matrix.states import (
    NEVER,
    ONE_PLACE,
    State,
    require_one_device_a_job,
)
from tests.polling import until
from tests.processes import worker
from tests.relays import JOB_ASSIGN_UNIQ, relay


def test_killed_while_idle_it_is_served_again(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    # With one place: none of it may be lost with the server.
    config = State(tmp_path).config(ONE_PLACE)
    with worker([str(job_server.address)], config, tmp_path) as process:
        for time in range(1, 4):
            process.wait_for("connected and registered")
            assert ask(job_server.address, BUILD)["response"] == "PASS"
            assert ask(job_server.address)["response"] == "PASS"
            assert registrations(process) == time
            job_server.restart()


def test_killed_in_the_middle_of_a_job_it_leaves_one_owned_device(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    # The first build goes on where nobody waits for it; the second, which
    # its client sends when it has lost the first, is another job.
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
    assert len(state.devices()) == 2  # the reaper has the other


class FirstJob:
    """A relay's filter that keeps the first job back.

    :param instead: what is passed on in its place; None cuts the link
    :ivar came: set when it came
    """

    def __init__(self, instead: bytes | None) -> None:
        self.came = threading.Event()
        self._instead = instead

    def __call__(self, data: bytes) -> bytes | None:
        """See what is on its way to the worker."""
        if self.came.is_set() or JOB_ASSIGN_UNIQ not in data:
            return data
        self.came.set()
        return self._instead


def test_killed_between_grab_and_job_the_place_is_free_again(
    tmp_path: Path,
) -> None:
    state = State(tmp_path)
    job = FirstJob(b"")
    with gearmand() as server, relay(server.address, to_worker=job) as between:
        config = state.config(ONE_PLACE)
        with worker([str(between.address)], config, tmp_path) as process:
            process.wait_for("registered")
            # It may hand a job out before it tells the client that it has
            # taken it: it is killed when it has done both.
            with batch(server.address, [BUILD]) as lost:
                assert job.came.wait(TIMEOUT)
                server.kill()
                (result,) = lost.results()
            assert isinstance(result, TransportError)
            server.start()
            process.wait_for("registered")
            # Of which kind the lost job was the worker has never known.
            answers = [ask(server.address, m) for m in (BUILD, BUILD_IP)]

            until(lambda: sum(executions(process).values()) == 2)
    assert {answer["response"] for answer in answers} == {"PASS"}
    assert len(state.owned()) == len(state.marks()) == 2


def test_a_job_that_is_lost_between_grab_and_worker_comes_again(
    tmp_path: Path,
) -> None:
    state = State(tmp_path)
    # The server lives and knows that the link has gone.
    cut = FirstJob(None)
    with gearmand() as server, relay(server.address, to_worker=cut) as between:
        config = state.config(ONE_PLACE)
        with worker([str(between.address)], config, tmp_path) as process:
            process.wait_for("registered")
            with batch(server.address, [BUILD]) as jobs:
                answers = jobs.passes()

            until(lambda: executions(process) == {jobs.uniques[0]: 1})
            assert ask(server.address)["response"] == "PASS"
            until(lambda: registrations(process) == 2)
    require_one_device_a_job(state, jobs, answers)
