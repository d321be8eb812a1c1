"""Many jobs, large messages, and the same job twice."""

from itertools import pairwise
from pathlib import Path

import pytest

from tests.batches import BUILD, BUILD_IP, ask, batch, job_counts, queue
from tests.jobservers import JobServerProcess, gearmand
from tests.logs import executions, registrations
from tests.polling import until
from tests.processes import worker
from tests.states import NEVER, ONE_SLOT, State

MANY = 20_000


def test_messages_of_ten_mebibytes_fail_without_losing_the_connection(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    size = 10 * 1024 * 1024
    bare = b"x" * size
    wrapped = {**BUILD_IP, "filler": "x" * size}
    with worker([str(job_server.address)]) as process:
        process.wait_for("registered")
        with batch(job_server.address, [bare, wrapped, BUILD_IP]) as jobs:
            *large, small = jobs.answers()

        assert registrations(process) == 1
    # Messages longer than 1 MiB are not parsed.
    assert large == [{"response": "FAIL"}] * 2
    assert small["response"] == "PASS"


@pytest.mark.endurance
def test_a_queue_of_20000_jobs_is_processed(tmp_path: Path) -> None:
    state = State(tmp_path)
    config = state.config(ip_quota=MANY, ip_range="10.0.0.0/8")
    with gearmand() as server:
        uniques = queue(server.address, [BUILD_IP] * MANY)
        assert job_counts(server.address) == (MANY, 0)
        with worker([str(server.address)], config, tmp_path) as process:
            until(lambda: job_counts(server.address) == (0, 0), 500.0, 0.1)
            assert ask(server.address, {"action": "?"})["response"] == "FAIL"

            until(lambda: registrations(process) == 1)
    assert state.owned() == sorted(uniques)


def test_one_slot_serves_three_servers_in_turn(
    tmp_path: Path,
) -> None:
    state = State(tmp_path)
    config = state.config(ONE_SLOT, boot_time=NEVER)
    with gearmand() as a, gearmand() as b, gearmand() as c:
        servers = [each.address for each in (a, b, c)]
        for server in servers:
            queue(server, [BUILD] * 4)
        with worker([str(s) for s in servers], config, tmp_path) as process:
            until(lambda: registrations(process) == 3)
            for number in range(1, 13):
                until(lambda: len(state.devices()) == number)  # noqa: B023
                state.boot()
            until(lambda: len(executions(process)) == 12)

    for (_created, ready), (created, _ready) in pairwise(state.boots()):
        assert created >= ready
    # No server had to wait until the queue of another was empty.
    order = [
        line.partition("server=")[2].split(" ")[0]
        for line in process.lines
        if "outcome=PASS" in line
    ]
    last = [len(order) - order[::-1].index(str(server)) for server in servers]
    assert max(order.index(str(server)) for server in servers) < min(last)


def test_one_slot_prefetches_no_job(
    tmp_path: Path,
) -> None:
    config = State(tmp_path).config(ONE_SLOT, boot_time=3600)
    with gearmand() as a, gearmand() as b, gearmand() as c:
        servers = [each.address for each in (a, b, c)]
        for server in servers:
            queue(server, [BUILD] * 2)
        with worker([str(s) for s in servers], config, tmp_path) as process:
            until(lambda: registrations(process) == 3)
            until(lambda: sum(job_counts(s)[1] for s in servers) == 1)
            # More jobs would arrive immediately.
            for _attempt in range(20):
                taken = [job_counts(server) for server in servers]
                assert sorted(taken) == [(2, 0), (2, 0), (2, 1)]


def test_two_submissions_with_one_unique_run_once(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    config = state.config(boot_time=NEVER)
    address = job_server.address
    with worker([str(address)], config, tmp_path) as process:
        process.wait_for("registered")
        with (
            batch(address, [BUILD], ["same"]) as one,
            batch(address, [BUILD], ["same"]) as other,
        ):
            until(state.devices)
            state.boot()
            answers = one.passes() + other.passes()

        until(lambda: executions(process) == {"same": 1})
    assert answers[0] == answers[1]
    assert list(state.owners()) == [answers[0]["name"]]


def test_one_unique_at_two_servers_runs_once(
    tmp_path: Path,
) -> None:
    state = State(tmp_path)
    config = state.config(boot_time=NEVER)
    with gearmand() as a, gearmand() as b:
        servers = [str(a.address), str(b.address)]
        with worker(servers, config, tmp_path) as process:
            until(lambda: registrations(process) == 2)
            with (
                batch(a.address, [BUILD], ["same"]) as one,
                batch(b.address, [BUILD], ["same"]) as other,
            ):
                until(lambda: job_counts(a.address) == (1, 1))
                until(lambda: job_counts(b.address) == (1, 1))
                until(state.devices)
                state.boot()
                answers = one.passes() + other.passes()

            until(lambda: executions(process) == {"same": 1})
    assert answers[0] == answers[1]
    assert list(state.owners()) == [answers[0]["name"]]
