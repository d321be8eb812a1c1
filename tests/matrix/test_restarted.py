"""A restarted job server reuses its handles."""

from pathlib import Path

from poolmgr.errors import TransportError
from tests.batches import BUILD, batch, job_counts
from tests.jobservers import JobServerProcess
from tests.logs import executions
from tests.polling import until
from tests.processes import worker
from tests.states import NEVER, State

JOBS = 100


def test_no_result_reaches_another_job_with_the_same_handle(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    config = state.config(
        f"[worker]\nlong_jobs = {2 * JOBS}\n", boot_time=NEVER
    )
    old = [{**BUILD, "n": f"old {n}"} for n in range(JOBS)]
    new = [{**BUILD, "n": f"new {n}"} for n in range(JOBS)]
    server = job_server.address
    with worker([str(server)], config, tmp_path) as process:
        process.wait_for("registered")
        with batch(server, old) as first:
            until(lambda: len(state.devices()) == JOBS)
            job_server.restart()
            assert all(
                isinstance(result, TransportError)
                for result in first.results()
            )
        process.wait_for("registered")
        with batch(server, new) as second:
            # The old builds end while new ones have the same handles.
            until(lambda: len(state.devices()) == 2 * JOBS)
            state.boot(first.uniques)
            until(lambda: len(executions(process)) == JOBS)
            assert set(executions(process)) == set(first.uniques)
            assert job_counts(server) == (JOBS, JOBS)
            state.boot(second.uniques)
            answers = second.passes()
        until(lambda: sum(executions(process).values()) == 2 * JOBS)

    assert set(second.handles) == set(first.handles)
    assert [answer["n"] for answer in answers] == [m["n"] for m in new]
    # Devices of the first batch are orphans for the reaper.
    owners = state.owners()
    assert owners == {
        answer["name"]: unique
        for answer, unique in zip(answers, second.uniques, strict=True)
    }


def test_only_jobs_after_the_last_restart_own_devices(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    config = state.config("[worker]\nlong_jobs = 100\n", boot_time=NEVER)
    uniques: list[str] = []
    with worker([str(job_server.address)], config, tmp_path) as process:
        for _restart in range(3):
            process.wait_for("registered")
            with batch(job_server.address, [BUILD] * 10) as jobs:
                uniques.extend(jobs.uniques)
                until(lambda: len(state.devices()) == len(uniques))
                job_server.restart()
        process.wait_for("registered")
        with batch(job_server.address, [BUILD] * 10) as last:
            until(lambda: len(state.devices()) == 40)
            state.boot(uniques)
            until(lambda: len(executions(process)) == 30)
            assert not state.owned()
            state.boot(last.uniques)
            answers = last.passes()
        until(lambda: len(executions(process)) == 40)

    assert sorted(last.uniques) == state.owned()
    assert len({answer["name"] for answer in answers}) == 10
