"""A job server that is killed, whatever it was at."""

from collections.abc import Callable
from pathlib import Path

import pytest

from poolmgr.errors import TransportError
from tests.jobservers import JobServerProcess, gearmand
from tests.matrix.batches import (
    BUILD,
    BUILD_IP,
    State,
    ask,
    batch,
    executions,
    registrations,
    require_one_device_a_job,
)
from tests.polling import until
from tests.processes import Process, worker
from tests.relays import JOB_ASSIGN_UNIQ, relay

ONE_PLACE = "[worker]\nlong_jobs = 1\nshort_jobs = 1\nheld_jobs = 0\n"


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
    config = state.config("[worker]\nlong_jobs = 2\n", boot_time=4)
    with worker([str(job_server.address)], config, tmp_path) as process:
        process.wait_for("registered")
        with batch(job_server.address, [BUILD]) as first:
            until(lambda: len(state.devices()) == 1)
            job_server.kill()
            (lost,) = first.results()
            assert isinstance(lost, TransportError)
        job_server.start()
        with batch(job_server.address, [BUILD]) as second:
            (answer,) = second.passes()
        until(lambda: sum(executions(process).values()) == 2)

    assert state.owners() == {answer["name"]: second.uniques[0]}
    assert len(state.devices()) == 2  # the reaper has the other


@pytest.mark.parametrize("message", [BUILD, BUILD_IP])
def test_killed_between_grab_and_job_the_place_is_free_again(
    tmp_path: Path, message: dict[str, str]
) -> None:
    state = State(tmp_path)
    with gearmand() as server:
        kill = _once(server.kill)
        with relay(server.address, to_worker=kill) as between:
            config = state.config(ONE_PLACE)
            with worker([str(between.address)], config, tmp_path) as process:
                process.wait_for("registered")
                with batch(server.address, [message]) as lost:
                    (result,) = lost.results()
                assert isinstance(result, TransportError)
                server.start()
                process.wait_for("registered")
                answers = [ask(server.address, message) for _ in range(2)]

                until(lambda: sum(executions(process).values()) == 2)
    assert {answer["response"] for answer in answers} == {"PASS"}
    assert len(state.owned()) == len(state.marks()) == 2


def test_a_job_that_is_lost_between_grab_and_worker_comes_again(
    tmp_path: Path,
) -> None:
    state = State(tmp_path)
    with gearmand() as server:
        # The server lives and knows that the link has gone.
        cut = _once(lambda: None)
        with relay(server.address, to_worker=cut) as between:
            config = state.config(ONE_PLACE)
            with worker([str(between.address)], config, tmp_path) as process:
                process.wait_for("registered")
                with batch(server.address, [BUILD]) as jobs:
                    answers = jobs.passes()

                until(lambda: executions(process) == {jobs.uniques[0]: 1})
                _serves_more(process, server)
    require_one_device_a_job(state, jobs, answers)


def _serves_more(process: Process, server: JobServerProcess) -> None:
    assert ask(server.address)["response"] == "PASS"
    until(lambda: registrations(process) == 2)


def _once(do: Callable[[], None]) -> Callable[[bytes], bytes | None]:
    """Swallow the first job, do something, and cut the link."""
    done: list[bytes] = []

    def sees(data: bytes) -> bytes | None:
        if JOB_ASSIGN_UNIQ in data and not done:
            done.append(data)
            do()
            return None
        return data

    return sees
