"""Tests of ``--log-file``: rotated, removed, or on a full disk."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.batches import ask
from tests.jobservers import JobServerProcess, builtin
from tests.polling import until
from tests.processes import TIMEOUT, Process, poolmgr


class LoggingWorker:
    """A worker with a log file."""

    def __init__(self, server: JobServerProcess, *args: str) -> None:
        self._server = server
        self.process = Process(
            [*("--driver", "fake", "--gearman-server", str(server.address))]
            + [*args, "worker"]
        )

    def run_job(self) -> None:
        """Run a job."""
        assert ask(self._server.address)["response"] == "PASS"

    def drain(self) -> None:
        """Drain the worker."""
        self.process.signal(signal.SIGTERM)
        assert self.process.exit_code() == 0


@contextmanager
def logging_to(log: Path | str, *args: str) -> Iterator[LoggingWorker]:
    """Run a worker that logs to a file."""
    with builtin() as server:
        worker = LoggingWorker(server, "--log-file", str(log), *args)
        try:
            worker.process.wait_for("registered")
            yield worker
        finally:
            worker.process.end()


def count_jobs(log: Path) -> int:
    """Count the jobs in a log file."""
    return log.read_text().count(" outcome=PASS ") if log.exists() else 0


@pytest.mark.parametrize("create", [True, False])
def test_a_moved_file_is_replaced_by_a_new_one(
    create: bool, tmp_path: Path
) -> None:
    log, old = tmp_path / "log", tmp_path / "log.1"
    with logging_to(log) as worker:
        worker.run_job()
        until(lambda: count_jobs(log) == 1)
        log.rename(old)
        if create:  # as logrotate does
            log.touch()
        worker.run_job()
        until(lambda: count_jobs(log) == 1)
        worker.drain()

    assert count_jobs(old) == 1
    assert "drained" in log.read_text()


def test_a_truncated_file_is_continued_without_a_hole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with logging_to(log) as worker:
        worker.run_job()
        until(lambda: count_jobs(log) == 1)
        os.truncate(log, 0)
        worker.drain()

    assert "drained" in log.read_text()
    assert "\0" not in log.read_text()


def test_sighup_reopens_the_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with logging_to(log) as worker:
        log.rename(tmp_path / "log.1")
        worker.process.signal(signal.SIGHUP)
        until(lambda: log.exists() and "reloaded" in log.read_text())


def test_a_missing_folder_is_reported_once_and_the_file_written_later(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = folder / "log"
    with logging_to(log) as worker:
        shutil.rmtree(folder)
        worker.run_job()
        worker.run_job()
        worker.process.wait_for("No such file or directory")
        folder.mkdir()
        worker.run_job()
        until(lambda: count_jobs(log) == 1)
        worker.process.wait_for("is written again")
        worker.drain()

    errors = "".join(worker.process.lines)
    assert errors.count("cannot be written") == 1
    assert "Traceback" not in errors


@pytest.mark.parametrize("format_", ["text", "json"])
def test_a_full_disk_is_reported_once(format_: str) -> None:
    with logging_to("/dev/full", "--log-format", format_) as worker:
        for _number in range(3):
            worker.run_job()
        worker.drain()

    lines = worker.process.lines
    assert len([x for x in lines if "No space left on device" in x]) == 1
    assert len([x for x in lines if "outcome=PASS" in x]) == 3
    assert not any("Traceback" in line for line in lines)
    if format_ == "json":
        assert all(isinstance(json.loads(line), dict) for line in lines)


def test_lines_are_whole_after_a_full_disk_has_room_again(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    script = (
        "import logging, resource, sys\n"
        "from poolmgr.cli.app import main\n"
        "main(['--log-file', sys.argv[1], 'help'])\n"
        "limit = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "logging.error('1' * 99)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (250, limit[1]))\n"
        "for text in '23456':\n"
        "    logging.error(text * 99)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, limit)\n"
        "logging.error('7' * 99)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(log)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )

    lines = [x for x in log.read_text().splitlines() if " root: " in x]
    messages = [line.rpartition(" ")[2] for line in lines]
    assert {len(text) for text in messages} == {99}
    assert {text[0] for text in messages} >= {"1", "2", "7"}
    errors = [x for x in done.stderr.splitlines() if "--log-file" in x]
    assert "File too large; lines are lost" in errors[0]
    assert "is written again" in errors[1]


def test_errors_in_log_calls_threads_and_destructors_are_logged(
    tmp_path: Path,
) -> None:
    script = (
        "import logging, sys\n"
        "from poolmgr.cli.app import main\n"
        "class Faulty:\n"
        "    def __str__(self):\n"
        "        raise ValueError('faulty')\n"
        "    def __del__(self):\n"
        "        raise ValueError('gone')\n"
        "main(['--log-format', 'json', 'help'])\n"
        "logging.error('%d', 'x')\n"
        "logging.error(Faulty())\n"
        "logging.error('%s', Faulty())\n"
        "import threading, warnings\n"
        "warnings.warn('mind')\n"
        "thread = threading.Thread(target=lambda: 1 / 0, name='mine')\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )

    messages = [json.loads(x)["message"] for x in done.stderr.splitlines()]
    assert sum("cannot be formatted" in text for text in messages) == 3
    assert any("UserWarning: mind" in text for text in messages)
    assert any("thread mine has died: Zero" in text for text in messages)
    assert any("ValueError('gone')" in text for text in messages)
    assert done.stdout


@pytest.mark.parametrize("path", ["", "/nowhere/log"])
def test_a_file_that_cannot_be_opened_is_reported(
    path: str, tmp_path: Path
) -> None:
    done = poolmgr("--log-file", path or str(tmp_path), "plugin", "list")

    assert done.returncode == 1
    assert done.stderr.startswith("poolmgr: --log-file ")
    assert done.stderr.count("\n") == 1


def test_a_worker_works_with_standard_error_on_a_full_disk(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    with builtin() as server, open("/dev/full", "w") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "poolmgr", "--driver", "fake"]
            + ["--gearman-server", str(server.address)]
            + ["--log-file", str(log), "worker"],
            stderr=full,
        )
        try:
            answer = ask(server.address)
            process.send_signal(signal.SIGTERM)
            exit_code = process.wait(TIMEOUT)
        finally:
            process.kill()
            process.wait()

    assert (answer["response"], exit_code) == ("PASS", 0)
    assert "drained" in log.read_text()


def test_a_file_that_cannot_be_opened_is_reported_in_one_line(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "none" / "log")

    done = poolmgr("--log-file", path, "plugin", "list")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"poolmgr: --log-file {path!r} cannot be used: No such file or "
        "directory\n"
    )
