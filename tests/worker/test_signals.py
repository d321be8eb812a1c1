"""Signals that end a worker, at every moment of its life."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.asking import Answers, asked, running
from tests.clouds import fake_devices
from tests.jobservers import JobServerProcess, builtin, gearmand
from tests.peers import black_hole
from tests.polling import until
from tests.processes import TIMEOUT, Process, poolmgr, worker
from tests.relays import relay

BUILD = {"action": "BUILD_DEVICE"}
BUILD_IP = {"action": "BUILD_IP"}
#: How a worker asks for a job on the wire.
GRAB_JOB_UNIQ = b"\0REQ\0\0\0\x1e"

either = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


def fake(path: Path, boot_time: float, rest: str = "") -> str:
    """Configuration of a fake cloud in a file."""
    return f"[fake]\nstate = {path}\nboot_time = {boot_time}\n{rest}"


@contextmanager
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT)
        yield server


def blocked_signals(process: Process) -> set[int]:
    """The masks of blocked signals of a process's threads."""
    return {
        int(line.split()[1], 16)
        for status in Path(f"/proc/{process.pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if line.startswith("SigBlk:")
    }


# -- the start --------------------------------------------------------------


@either
def test_a_start_that_waits_for_the_cloud_is_broken_off(
    number: signal.Signals, tmp_path: Path
) -> None:
    with silent() as cloud:
        config = tmp_path / "worker.conf"
        config.write_text(
            "[nova]\nusername = u\npassword = p\nproject_name = p\n"
            "image = i\nflavor = f\n"
            f"auth_url = http://127.0.0.1:{cloud.getsockname()[1]}/v3\n"
        )
        config.chmod(0o600)  # it has a password
        process = Process(["--config-file", str(config), "worker"])
        try:
            connection, _peer = cloud.accept()
            # What a plugin starts meanwhile gets all signals, too.
            assert blocked_signals(process) == {0}
            process.signal(number)

            assert process.exit_code() == 0
        finally:
            connection.close()
            process.end()

    _start, line = process.lines
    assert f"{number.name}: stopping before it served" in line


@either
def test_a_worker_that_no_job_server_answers_ends(
    number: signal.Signals,
) -> None:
    with silent() as server:
        with worker([f"127.0.0.1:{server.getsockname()[1]}"]) as process:
            connection, _peer = server.accept()
            process.signal(number)

            assert process.exit_code() == 0
            connection.close()

    assert "Traceback" not in "".join(process.lines)
    assert any(line.endswith(": drained\n") for line in process.lines)


def test_a_worker_whose_job_server_cannot_be_reached_ends() -> None:
    with black_hole() as hole, gearmand() as server:
        with worker([str(hole), str(server.address)]) as process:
            process.wait_for("registered")
            process.signal(signal.SIGTERM)

            assert process.exit_code() == 0


# -- jobs under way ---------------------------------------------------------


class HeldGrab:
    """Holds back the first GRAB after a time; for a relay."""

    def __init__(self) -> None:
        self.armed = threading.Event()
        self.held = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, data: bytes) -> bytes:
        if GRAB_JOB_UNIQ in data and self.armed.is_set():
            self.held.set()
            assert self.go_on.wait(TIMEOUT)
        return data


def signalled_in_a_grab(
    process: Process, server: JobServerProcess, grab: HeldGrab
) -> Callable[[], Answers]:
    """Tell a worker to end while it asks for a job; what waits for that
    job's answer."""
    process.wait_for("registered")
    asked(server.address, BUILD_IP)()
    grab.armed.set()
    answers = asked(server.address, BUILD_IP)
    assert grab.held.wait(TIMEOUT)
    process.signal(signal.SIGTERM)
    return answers


def test_a_job_that_was_asked_for_before_the_signal_is_answered() -> None:
    grab = HeldGrab()
    with gearmand() as server, relay(server.address, grab) as between:
        with worker([str(between.address)]) as process:
            answers = signalled_in_a_grab(process, server, grab)
            process.wait_for("draining, 0 of ")
            grab.go_on.set()

            assert process.exit_code() == 0
            assert answers()[0]["response"] == "PASS"


def test_a_job_that_comes_when_the_time_to_drain_is_up_goes_back(
    tmp_path: Path,
) -> None:
    grab = HeldGrab()
    config = "[worker]\ndrain_timeout = 0.1\n"
    with gearmand() as server, relay(server.address, grab) as between:
        with worker([str(between.address)], config, tmp_path) as process:
            answers = signalled_in_a_grab(process, server, grab)
            process.wait_for("the time to drain is up")
            grab.go_on.set()

            assert process.exit_code() == 3
            with worker([str(server.address)]):
                assert answers()[0]["response"] == "PASS"
    assert not any("outcome=FAIL" in line for line in process.lines)


def test_signals_that_come_together_are_one(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = tmp_path / "cloud.db"
    config = fake(state, 3600, "[worker]\ndrain_timeout = 0.1\n")
    with worker([str(job_server.address)], config, tmp_path) as process:
        process.wait_for("registered")
        asked(job_server.address, BUILD)
        until(lambda: len(fake_devices(state)) == 1)
        process.signal(signal.SIGINT)
        process.signal(signal.SIGTERM)

        assert process.exit_code() == 3

    assert fake_devices(state) == []


def test_builds_that_wait_in_the_worker_go_to_another(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    """Those for which there is no time any more."""
    state = tmp_path / "cloud.db"
    config = fake(state, 2.0, "[worker]\nlong_jobs = 2\ndrain_timeout = 8\n")
    server = str(job_server.address)

    with worker([server], config, tmp_path) as first:
        first.wait_for("registered")
        answers = asked(job_server.address, *[BUILD] * 100)
        until(lambda: running(job_server.address) == 100)
        first.signal(signal.SIGTERM)
        assert first.exit_code() == 0
        with worker([server], fake(state, 0.0), tmp_path):
            found = answers()

    assert {answer["response"] for answer in found} == {"PASS"}
    names = [answer["name"] for answer in found]
    assert sorted(names) == sorted(fake_devices(state))
    assert len(set(names)) == 100


def test_a_link_lost_while_draining_is_not_waited_for(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = tmp_path / "cloud.db"
    config = fake(state, 3600)
    with worker([str(job_server.address)], config, tmp_path) as process:
        process.wait_for("registered")
        asked(job_server.address, BUILD)
        until(lambda: len(fake_devices(state)) == 1)
        process.signal(signal.SIGTERM)
        process.wait_for("draining, 1 of ")
        job_server.kill()

        assert process.exit_code() == 0

    assert any(line.endswith(": drained\n") for line in process.lines)
    # Another worker may be about to take it over.
    assert len(fake_devices(state)) == 1


def test_a_build_whose_link_is_lost_while_draining_is_taken_over(
    tmp_path: Path,
) -> None:
    state = tmp_path / "cloud.db"
    config = fake(state, 3)
    with gearmand() as server, relay(server.address, bytes) as between:
        with worker([str(between.address)], config, tmp_path) as first:
            first.wait_for("registered")
            answers = asked(server.address, BUILD)
            until(lambda: len(fake_devices(state)) == 1)
            first.signal(signal.SIGTERM)
            first.wait_for("draining, 1 of ")
            with worker([str(server.address)], config, tmp_path) as second:
                second.wait_for("registered")
                between.cut()
                second.wait_for("taking over")
                assert first.exit_code() == 0

                (answer,) = answers()

    assert answer["response"] == "PASS"
    assert fake_devices(state) == [answer["name"]]


# -- standard files that are not there --------------------------------------


def started(
    redirection: str, server: JobServerProcess, log: Path, stderr: int = -1
) -> "subprocess.Popen[bytes]":
    """A worker, by a shell that redirects its files."""
    return subprocess.Popen(
        ["sh", "-c", f'exec "$@" {redirection}', "sh"]
        + [sys.executable, "-m", "poolmgr", "--driver", "fake"]
        + ["--gearman-server", str(server.address)]
        + ["--log-file", str(log), "worker"],
        stderr=stderr if stderr >= 0 else None,
    )


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_standard_files_may_be_closed(closed: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with builtin() as server:
        process = started(closed, server, log)
        try:
            (answer,) = asked(server.address, BUILD_IP)()
            files = [
                os.readlink(f"/proc/{process.pid}/fd/{n}") for n in (0, 1, 2)
            ]
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()
            process.wait()

    assert answer["response"] == "PASS"
    assert not any("socket" in file or "pipe" in file for file in files)
    assert "drained" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_command_works_with_closed_files(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh"]
        + [sys.executable, "-m", "poolmgr", "--driver", "fake", "build-ip"],
        timeout=TIMEOUT,
        check=False,
    )

    assert done.returncode == 0
    assert poolmgr("--driver", "fake", "build-ip").stdout


def test_who_reads_the_log_may_go(tmp_path: Path) -> None:
    log = tmp_path / "log"
    reader, writer = os.pipe()
    with builtin() as server:
        process = started("", server, log, writer)
        os.close(writer)
        try:
            asked(server.address, BUILD_IP)()
            os.close(reader)

            (answer,) = asked(server.address, BUILD_IP)()
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()
            process.wait()

    assert answer["response"] == "PASS"


# -- a log that hangs -------------------------------------------------------


@either
def test_a_worker_whose_log_hangs_ends_by_the_second_signal(
    number: signal.Signals, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    reader, writer = os.pipe()
    with builtin() as server:
        process = started("", server, log, writer)
        try:
            asked(server.address, BUILD_IP)()
            fill(writer)
            process.send_signal(signal.SIGUSR2)
            until(lambda: "end of the state report" in log.read_text())

            def again() -> bool:
                process.send_signal(number)
                return process.poll() is not None

            until(again, TIMEOUT, pause=0.1)
            assert process.wait(TIMEOUT) == 128 + number
        finally:
            process.kill()
            process.wait()
            os.close(reader)
            os.close(writer)


def fill(pipe: int) -> None:
    """Leave no room in a pipe."""
    os.set_blocking(pipe, False)
    try:
        while True:
            os.write(pipe, b"x")
    except BlockingIOError:
        pass
    os.set_blocking(pipe, True)
