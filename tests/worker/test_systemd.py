"""Tests of the notifications to systemd and of the unit file."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolmgr.worker.systemd import Notifier
from tests.batches import submit
from tests.jobservers import JobServerProcess, gearmand
from tests.notify_sockets import NotifySocket, notify_socket
from tests.polling import until
from tests.processes import worker
from tests.wanted import program

UNIT = Path(__file__).parents[2] / "etc" / "systemd" / "poolmgr-worker.service"

#: The watchdog's timeout in seconds.
WATCHDOG = 0.3


@pytest.fixture
def manager() -> Iterator[NotifySocket]:
    """Return a socket in the place of systemd's."""
    with notify_socket() as sock:
        yield sock


def statuses(messages: list[list[str]]) -> list[str]:
    """Return the status lines of notifications."""
    return [
        line.removeprefix("STATUS=")
        for message in messages
        for line in message
        if line.startswith("STATUS=")
    ]


# -- the worker -------------------------------------------------------------


@pytest.mark.parametrize("abstract", [True, False])
def test_a_worker_notifies_ready_once_registered(
    abstract: bool, job_server: JobServerProcess, tmp_path: Path
) -> None:
    with notify_socket(None if abstract else tmp_path) as manager:
        with worker(
            [str(job_server.address)], NOTIFY_SOCKET=manager.name
        ) as process:
            messages = manager.wait_for("READY=1")
            assert statuses(messages)[0] == "checking the settings"
            # [poolmgr] short_timeout is 90 s.
            assert "EXTEND_TIMEOUT_USEC=130000000" in messages[0]
            assert statuses(messages)[-1] == (
                "0 of 500 builds, 0 of 50 short jobs running, "
                "1 of 1 job servers"
            )
            process.signal(signal.SIGTERM)
            assert process.exit_code() == 0
            (*_, stopping) = manager.wait_for("STOPPING=1")
            assert "EXTEND_TIMEOUT_USEC=30000000" in stopping


def test_a_worker_without_a_job_server_notifies_ready_after_a_while(
    manager: NotifySocket,
) -> None:
    with gearmand(start=False) as server:
        with worker([str(server.address)], NOTIFY_SOCKET=manager.name):
            messages = manager.wait_for("READY=1")
            waiting = "0 of 1 job servers"
            assert statuses(messages)[-1].endswith(waiting)
            # It has waited for a registration first.
            assert sum(s.endswith(waiting) for s in statuses(messages)) > 5

            server.start()
            manager.wait_for("1 of 1 job servers")


def test_a_draining_worker_extends_its_timeout_and_reports_running_jobs(
    job_server: JobServerProcess, manager: NotifySocket, tmp_path: Path
) -> None:
    with worker(
        [str(job_server.address)],
        "[fake]\nboot_time = 60\n[worker]\ndrain_timeout = 3600\n",
        tmp_path,
        NOTIFY_SOCKET=manager.name,
        WATCHDOG_USEC=f"{WATCHDOG * 1e6:.0f}",
    ) as process:
        submit(job_server.address, {"action": "BUILD_DEVICE"})
        manager.wait_for("1 of 500 builds")
        process.signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        (*_, message) = manager.wait_for("STATUS=draining, 1 of 500 builds")
        assert "EXTEND_TIMEOUT_USEC=30000000" in message
        assert "WATCHDOG=1" in message
        assert "READY=1" not in message


def test_a_reload_is_notified_at_its_begin_and_end(
    job_server: JobServerProcess, manager: NotifySocket, tmp_path: Path
) -> None:
    with worker(
        [str(job_server.address)],
        "[worker]\nlong_jobs = 7\n",
        tmp_path,
        NOTIFY_SOCKET=manager.name,
        WATCHDOG_USEC=f"{WATCHDOG * 1e6:.0f}",
    ) as process:
        manager.wait_for("READY=1")
        (tmp_path / "worker.conf").write_text("[worker]\nlong_jobs = 8\n")
        process.signal(signal.SIGHUP)

        (*_, reloading) = manager.wait_for("RELOADING=1")
        (start,) = (x for x in reloading if x.startswith("MONOTONIC_USEC="))
        assert int(start.partition("=")[2]) > 0
        manager.wait_for("READY=1")
        manager.wait_for("0 of 8 builds")


# -- the watchdog -----------------------------------------------------------


@contextmanager
def log_pipe(
    folder: Path,
) -> Iterator[tuple[Path, Callable[[], None], Callable[[], None]]]:
    """Yield the path of a named pipe, and functions to fill and empty it."""
    path = folder / "log"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    filler = os.open(path, os.O_WRONLY | os.O_NONBLOCK)

    def fill() -> None:
        for size in (4096, 1):
            try:
                while True:
                    os.write(filler, b"\n" * size)
            except BlockingIOError:
                pass

    def empty() -> None:
        try:
            while os.read(reader, 65536):
                pass
        except BlockingIOError:
            pass

    try:
        yield path, fill, empty
    finally:
        empty()
        os.close(reader)
        os.close(filler)


def test_a_worker_with_a_blocked_loop_stops_its_watchdog_notifications(
    job_server: JobServerProcess, manager: NotifySocket, tmp_path: Path
) -> None:
    with log_pipe(tmp_path) as (log, fill, empty):
        through = ["sh", "-c", f'exec "$@" 2>{log}', "worker"]
        with worker(
            [str(job_server.address)],
            through=through,
            NOTIFY_SOCKET=manager.name,
            WATCHDOG_USEC=f"{WATCHDOG * 1e6:.0f}",
        ):
            manager.wait_for("READY=1")
            for _ in range(3):
                assert "WATCHDOG=1" in manager.next()

            # The loop blocks when it logs the lost job server to a full pipe.
            fill()
            job_server.kill()
            until(lambda: manager.next(5 * WATCHDOG) == [])

            empty()
            manager.wait_for("WATCHDOG=1")


@pytest.mark.parametrize(
    ("watchdog", "interval"),
    [("6000000", 2.0), ("60000000", 5.0), ("soon", 5.0), ("0", 5.0)],
)
def test_a_worker_notifies_three_times_within_the_watchdogs_timeout(
    watchdog: str, interval: float
) -> None:
    assert Notifier({"WATCHDOG_USEC": watchdog}).interval == interval


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative/path"])
def test_unsupported_notify_sockets_are_ignored(address: str) -> None:
    Notifier({"NOTIFY_SOCKET": address}).send("READY=1")


def test_an_unread_notify_socket_does_not_block_the_worker() -> None:
    with notify_socket() as manager:
        notifier = Notifier({"NOTIFY_SOCKET": manager.name})
        for _ in range(2000):  # more than fit into a socket's queue
            notifier.send("WATCHDOG=1")
        assert manager.next() == ["WATCHDOG=1"]
    notifier.send("WATCHDOG=1")


# -- the unit ---------------------------------------------------------------


def analyze(*args: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    return subprocess.run(
        [program("systemd-analyze", package="systemd"), *args],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def runnable_unit() -> str:
    """Return the unit with an installed program in place of poolmgr."""
    text = UNIT.read_text()
    assert "/opt/poolmgr/bin/poolmgr" in text
    return text.replace("/opt/poolmgr/bin/poolmgr", sys.executable)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(runnable_unit())

    done = analyze("verify", "--man=no", str(unit))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_units_security_exposure_is_low() -> None:
    done = analyze(
        "security", "--offline=true", "--threshold=15", "--no-pager", str(UNIT)
    )

    assert done.returncode == 0, done.stdout
