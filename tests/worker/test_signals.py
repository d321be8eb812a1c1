"""Tests of the signals that end a worker, and of its standard files."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.batches import (
    BUILD,
    BUILD_IP,
    Answers,
    Batch,
    ask,
    batch,
    job_counts,
    queue,
    submit,
)
from tests.jobservers import JobServerProcess, builtin, gearmand
from tests.peers import black_hole, is_silent, peer
from tests.polling import until
from tests.processes import TIMEOUT, Process, worker
from tests.relays import relay
from tests.states import NEVER, State

#: A worker's request for a job on the wire.
GRAB_JOB_UNIQ = b"\0REQ\0\0\0\x1e"

each_signal = pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT]
)


# -- before any job ---------------------------------------------------------


def blocked_signals(process: Process) -> set[int]:
    """Return the masks of blocked signals of a process's threads."""
    return {
        int(line.split()[1], 16)
        for status in Path(f"/proc/{process.pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if line.startswith("SigBlk:")
    }


@each_signal
def test_a_signal_ends_a_start_that_waits_for_the_cloud(
    number: signal.Signals, tmp_path: Path
) -> None:
    with peer(is_silent) as cloud:
        config = tmp_path / "worker.conf"
        config.write_text(
            "[nova]\nusername = u\npassword = p\nproject_name = p\n"
            "image = i\nflavor = f\n"
            f"auth_url = http://{cloud.address}/v3\n"
        )
        config.chmod(0o600)  # it has a password
        process = Process(["--config-file", str(config), "worker"])
        try:
            until(lambda: cloud.times, TIMEOUT)
            # Processes that a plugin starts now would inherit the mask.
            assert blocked_signals(process) == {0}
            process.signal(number)

            assert process.exit_code() == 0
        finally:
            process.end()

    _start, line = process.lines
    assert f"{number.name}: stopping before it served" in line


@each_signal
def test_a_signal_ends_a_worker_whose_job_server_is_silent(
    number: signal.Signals,
) -> None:
    with peer(is_silent) as server:
        with worker([str(server.address)]) as process:
            until(lambda: server.times, TIMEOUT)
            process.signal(number)

            assert process.exit_code() == 0

    assert "Traceback" not in "".join(process.lines)
    assert any(line.endswith(": drained\n") for line in process.lines)


def test_a_signal_ends_a_worker_with_an_unreachable_job_server() -> None:
    with black_hole() as hole, gearmand() as server:
        with worker([str(hole), str(server.address)]) as process:
            process.wait_for("registered")
            process.signal(signal.SIGTERM)

            assert process.exit_code() == 0


@each_signal
def test_an_idle_worker_ends_with_exit_code_0(
    job_server: JobServerProcess, number: signal.Signals
) -> None:
    with worker([str(job_server.address)]) as process:
        process.wait_for("registered")
        process.signal(number)

        assert process.exit_code() == 0


# -- a signal during a build ------------------------------------------------


@pytest.fixture
def state(tmp_path: Path) -> State:
    """Return the state of the workers' cloud."""
    return State(tmp_path)


@contextmanager
def signalled(
    server: JobServerProcess,
    state: State,
    config: str,
    *numbers: signal.Signals,
) -> Iterator[tuple[Process, Batch]]:
    """Run a worker that is signalled during its only build.

    :param numbers: the signals; SIGTERM if there are none
    """
    folder = state.path.parent
    with worker([str(server.address)], config, folder) as process:
        process.wait_for("registered")
        with batch(server.address, [BUILD]) as build:
            until(lambda: len(state.devices()) == 1)
            process.signal(*(numbers or [signal.SIGTERM]))
            yield process, build


def test_a_signal_lets_running_jobs_finish(
    job_server: JobServerProcess, state: State
) -> None:
    config = state.config(boot_time=1)
    with signalled(job_server, state, config) as (process, build):
        assert process.exit_code() == 0
        build.passes()

    assert len(state.devices()) == 1


@pytest.mark.parametrize(
    "numbers", [[signal.SIGTERM], [signal.SIGINT, signal.SIGTERM]]
)
def test_unfinished_jobs_are_stopped_and_answered_at_the_drain_timeout(
    job_server: JobServerProcess, state: State, numbers: list[signal.Signals]
) -> None:
    """Signals that arrive together count as one."""
    config = state.config("[worker]\ndrain_timeout = 0.3", boot_time=NEVER)
    with signalled(job_server, state, config, *numbers) as (process, build):
        assert process.exit_code() == 3
        assert build.answers() == [{**BUILD, "response": "FAIL"}]

    assert state.devices() == []


@each_signal
def test_a_second_signal_ends_a_worker_without_cleanup(
    job_server: JobServerProcess, state: State, number: signal.Signals
) -> None:
    config = state.config(boot_time=NEVER)
    with signalled(job_server, state, config) as (process, _build):
        process.wait_for("draining, 1 of ")
        process.signal(number)

        assert process.exit_code() == 128 + number

    # The worker that gets the job next takes the device over.
    assert len(state.devices()) == 1


def test_a_draining_worker_takes_no_jobs(
    job_server: JobServerProcess, state: State
) -> None:
    def waiting() -> int:
        queued, running = job_counts(job_server.address)
        return queued - running

    config = state.config(boot_time=1.5)
    with signalled(job_server, state, config) as (process, build):
        process.wait_for("draining, 1 of ")
        # The last request for a job may still be on its way.
        for _twice in range(2):
            queue(job_server.address, [BUILD_IP])
        left = waiting()
        assert left >= 1

        assert process.exit_code() == 0
        build.passes()
        assert waiting() == left


def test_draining_does_not_wait_for_a_lost_connection(
    job_server: JobServerProcess, state: State
) -> None:
    config = state.config(boot_time=NEVER)
    with signalled(job_server, state, config) as (process, _build):
        process.wait_for("draining, 1 of ")
        job_server.kill()

        assert process.exit_code() == 0

    assert any(line.endswith(": drained\n") for line in process.lines)
    # Another worker may be about to take it over.
    assert len(state.devices()) == 1


def test_a_build_of_a_connection_lost_while_draining_is_taken_over(
    state: State, tmp_path: Path
) -> None:
    config = state.config(boot_time=NEVER)
    with gearmand() as server, relay(server.address) as between:
        with worker([str(between.address)], config, tmp_path) as first:
            first.wait_for("registered")
            with batch(server.address, [BUILD]) as build:
                until(lambda: len(state.devices()) == 1)
                first.signal(signal.SIGTERM)
                first.wait_for("draining, 1 of ")
                with worker([str(server.address)], config, tmp_path) as second:
                    second.wait_for("registered")
                    between.cut()
                    second.wait_for("taking over")
                    assert first.exit_code() == 0
                    state.boot()

                    (answer,) = build.passes()

    assert [device.name for device in state.devices()] == [answer["name"]]


def test_prefetched_builds_without_time_left_go_to_another_worker(
    job_server: JobServerProcess, state: State, tmp_path: Path
) -> None:
    config = state.config(
        "[worker]\nlong_jobs = 2\ndrain_timeout = 10", boot_time=1
    )
    server = job_server.address

    def all_are_at_the_worker() -> bool:
        unfinished, running = job_counts(server)
        return unfinished == running

    with worker([str(server)], config, tmp_path) as first:
        first.wait_for("registered")
        with batch(server, [BUILD] * 100) as builds:
            until(all_are_at_the_worker)
            first.signal(signal.SIGTERM)
            assert first.exit_code() == 0
            with worker([str(server)], state.config(boot_time=0), tmp_path):
                answers = builds.passes()

    names = [answer["name"] for answer in answers]
    assert sorted(names) == sorted(device.name for device in state.devices())
    assert len(set(names)) == 100


# -- a signal while the worker asks for a job -------------------------------


class GrabBarrier:
    """A relay filter that delays a worker's request for a job.

    :ivar armed: set it to delay the next request
    :ivar reached: is set by that request
    :ivar passed: set it to let the request pass
    """

    def __init__(self) -> None:
        self.armed = threading.Event()
        self.reached = threading.Event()
        self.passed = threading.Event()

    def __call__(self, data: bytes) -> bytes:
        if GRAB_JOB_UNIQ in data and self.armed.is_set():
            self.reached.set()
            assert self.passed.wait(TIMEOUT)
        return data


def signal_during_grab(
    process: Process, server: JobServerProcess, grab: GrabBarrier
) -> Callable[[], Answers]:
    """Send SIGTERM while the worker asks for a job.

    :returns: a future of that job's answer
    """
    process.wait_for("registered")
    ask(server.address)
    grab.armed.set()
    answers = submit(server.address, BUILD_IP)
    assert grab.reached.wait(TIMEOUT)
    process.signal(signal.SIGTERM)
    return answers


def test_a_job_requested_before_the_signal_is_answered() -> None:
    grab = GrabBarrier()
    with gearmand() as server, relay(server.address, grab) as between:
        with worker([str(between.address)]) as process:
            answers = signal_during_grab(process, server, grab)
            process.wait_for("draining, 0 of ")
            grab.passed.set()

            assert process.exit_code() == 0
            assert answers()[0]["response"] == "PASS"


def test_a_job_that_arrives_after_the_drain_timeout_is_redelivered(
    tmp_path: Path,
) -> None:
    grab = GrabBarrier()
    config = "[worker]\ndrain_timeout = 0.1\n"
    with gearmand() as server, relay(server.address, grab) as between:
        with worker([str(between.address)], config, tmp_path) as process:
            answers = signal_during_grab(process, server, grab)
            process.wait_for("the time to drain is up")
            grab.passed.set()

            assert process.exit_code() == 3
            with worker([str(server.address)]):
                assert answers()[0]["response"] == "PASS"
    assert not any("outcome=FAIL" in line for line in process.lines)


# -- standard files ---------------------------------------------------------


@contextmanager
def redirected(
    server: JobServerProcess,
    log: Path,
    redirection: str = "",
    stderr: int | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a worker with redirected standard files.

    :param redirection: by a shell, such as ``2>&-``
    :param stderr: file descriptor of the standard error
    """
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {redirection}', "sh"]
        + [sys.executable, "-m", "poolmgr", "--driver", "fake"]
        + ["--gearman-server", str(server.address)]
        + ["--log-file", str(log), "worker"],
        stderr=stderr,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("redirection", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_a_worker_runs_with_closed_standard_files(
    redirection: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with builtin() as server, redirected(server, log, redirection) as process:
        answer = ask(server.address)
        files = [
            os.readlink(f"/proc/{process.pid}/fd/{number}")
            for number in (0, 1, 2)
        ]
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0

    assert answer["response"] == "PASS"
    assert not any("socket" in file or "pipe" in file for file in files)
    assert "drained" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_worker_continues_after_the_reader_of_its_log_ends(
    tmp_path: Path,
) -> None:
    reader, writer = os.pipe()
    with (
        builtin() as server,
        redirected(server, tmp_path / "log", stderr=writer) as process,
    ):
        os.close(writer)
        ask(server.address)
        os.close(reader)

        assert ask(server.address)["response"] == "PASS"
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0


def fill(pipe: int) -> None:
    """Fill a pipe, so that the next write blocks."""
    os.set_blocking(pipe, False)
    try:
        while True:
            os.write(pipe, b"x")
    except BlockingIOError:
        pass
    os.set_blocking(pipe, True)


@each_signal
def test_a_second_signal_ends_a_worker_whose_log_hangs(
    number: signal.Signals, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    reader, writer = os.pipe()
    try:
        with (
            builtin() as server,
            redirected(server, log, stderr=writer) as process,
        ):
            ask(server.address)
            fill(writer)
            process.send_signal(signal.SIGUSR2)
            until(lambda: "end of the state report" in log.read_text())

            def has_ended() -> bool:
                process.send_signal(number)
                return process.poll() is not None

            until(has_ended, TIMEOUT, pause=0.1)
            assert process.wait(TIMEOUT) == 128 + number
    finally:
        os.close(reader)
        os.close(writer)
