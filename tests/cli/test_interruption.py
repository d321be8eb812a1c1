"""Tests of commands that a signal interrupts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.clouds import fake_devices, nova_group
from tests.environments import plugin_beside
from tests.jobservers import builtin
from tests.peers import is_silent, peer
from tests.polling import until
from tests.processes import TIMEOUT, Process, worker
from tests.terminals import terminal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DELETED = "3 of 3 had started; everything created was deleted"

each_signal = pytest.mark.parametrize("number", SIGNALS)


@contextmanager
def building(state: Path, *through: str) -> Iterator[Process]:
    """Run a command that builds three devices, which never boot."""
    process = Process(
        ["--driver", "fake", "build-device", "--count", "3"],
        through,
        OS_FAKE__STATE=str(state),
        OS_FAKE__BOOT_TIME="3600",
    )
    try:
        until(lambda: len(fake_devices(state)) == 3, TIMEOUT)
        yield process
    finally:
        process.end()


# -- clean-up ---------------------------------------------------------------


@each_signal
def test_an_interrupted_command_deletes_what_it_created(
    number: signal.Signals, tmp_path: Path
) -> None:
    state = tmp_path / "cloud.db"
    with building(state) as process:
        process.signal(number)

        assert process.exit_code() == 128 + number

    assert process.lines == [
        f"poolmgr: {number.name}: ended early; {DELETED}\n"
    ]
    assert fake_devices(state) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces")
@each_signal
def test_an_interrupted_process_1_deletes_what_it_created(
    number: signal.Signals, tmp_path: Path
) -> None:
    state = tmp_path / "cloud.db"
    namespace = ("unshare", "--fork", "--pid", "--kill-child")
    with building(state, *namespace) as process:
        task = f"/proc/{process.pid}/task/{process.pid}"
        child = int(Path(task, "children").read_text())
        os.kill(child, number)

        assert process.exit_code() == 128 + number

    assert fake_devices(state) == []


def test_simultaneous_signals_count_as_one(tmp_path: Path) -> None:
    state = tmp_path / "cloud.db"
    with building(state) as process:
        process.signal(signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

        assert process.exit_code() in {128 + number for number in SIGNALS}

    assert len(process.lines) == 1
    assert fake_devices(state) == []


def test_jobs_that_wait_for_others_take_no_memory(tmp_path: Path) -> None:
    state = tmp_path / "cloud.db"
    process = Process(
        ["--driver", "fake", "build-device", "--count", "1000000000"],
        ("sh", "-c", 'ulimit -v 2000000; exec "$@"', "sh"),
        OS_FAKE__STATE=str(state),
        OS_FAKE__BOOT_TIME="3600",
        OS_WORKER__LONG_JOBS="2",
    )
    try:
        until(lambda: len(fake_devices(state)) == 2, TIMEOUT)
        process.signal(signal.SIGTERM)

        assert process.exit_code() == 143
    finally:
        process.end()

    assert "; 2 of 1000000000 had started; every" in process.lines[-1]


@contextmanager
def interrupted(
    tmp_path: Path, fault: Fault
) -> Iterator[tuple[LoopbackCloud, Process]]:
    """Start a build on a loopback cloud with a fault, and send it SIGTERM."""
    config = tmp_path / "poolmgr.conf"
    config.write_text(nova_group("loopback"))
    with LoopbackCloud(boot_time=3600.0) as cloud:
        clouds = cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
        cloud.fault(fault)
        process = Process(
            ["--config-file", str(config), "build-device"],
            OS_CLIENT_CONFIG_FILE=str(clouds),
        )
        try:
            until(lambda: cloud.servers, TIMEOUT)
            process.signal(signal.SIGTERM)
            yield cloud, process
        finally:
            process.end()


def test_a_second_signal_ends_the_command_without_cleanup(
    tmp_path: Path,
) -> None:
    hang = Fault("DELETE", "/servers/[^/]+", hang=3600.0)
    with interrupted(tmp_path, hang) as (cloud, process):
        until(lambda: cloud.count("DELETE"), TIMEOUT)
        # Signals shortly after the first do not count as a second one.
        until(lambda: process.ended_by(signal.SIGTERM), TIMEOUT)

        assert process.exit_code() == 143
        assert len(cloud.servers) == 1

    assert "SIGTERM again: stopping at once" in process.lines[-1]


def test_a_second_ctrl_c_removes_the_progress_line(tmp_path: Path) -> None:
    state = tmp_path / "cloud.db"
    slow = {"OS_FAKE__STATE": str(state), "OS_FAKE__CALL_TIME": "3"}
    build = ("--driver", "fake", "build-device")
    with terminal(*build, environment=slow) as shown:
        until(lambda: fake_devices(state), TIMEOUT)
        shown.type("\x03")
        shown.wait_for(lambda: "cleaning up" in shown.text)
        time.sleep(0.1)  # signals together count as one
        shown.type("\x03")

        assert shown.exit_code() == 130
        assert shown.lines[-1].endswith("SIGINT again: stopping at once")
        assert "cleaning up" not in shown.text


def test_resources_that_could_not_be_deleted_are_reported(
    tmp_path: Path,
) -> None:
    refusal = Fault("DELETE", "/servers/[^/]+", status=403, times=None)
    with interrupted(tmp_path, refusal) as (_cloud, process):
        assert process.exit_code() == 143

    assert "1 could not be deleted" in process.lines[-1]


# -- the start and the end of a command -------------------------------------


def run(script: str, *args: str) -> tuple[int, str]:
    """Run a Python script; return its exit code and standard error."""
    done = subprocess.run(
        [sys.executable, "-c", script, *args],
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return done.returncode, done.stderr


@each_signal
def test_a_pending_signal_ends_the_command_at_its_start(
    number: signal.Signals,
) -> None:
    script = (
        "import os, signal, sys\n"
        f"signal.pthread_sigmask(signal.SIG_BLOCK, [{int(number)}])\n"
        f"os.kill(os.getpid(), {int(number)})\n"
        "command = [sys.executable, '-m', 'poolmgr']\n"
        "os.execv(command[0], [*command, 'submit', '-'])\n"
    )
    code, log = run(script)

    assert code == 128 + number
    assert log == f"poolmgr: {number.name}: ended early\n"


@each_signal
def test_a_signal_during_the_imports_ends_the_command(
    number: signal.Signals,
) -> None:
    script = (
        "import os, sys\n"
        "class Signal:\n"
        "    def find_spec(self, name, *_more, kill=os.kill):\n"
        "        if name == 'importlib.metadata':\n"
        f"            kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Signal())\n"
        "sys.modules.pop('importlib.metadata', None)  # coverage has it\n"
        "from poolmgr.__main__ import main\n"
        "sys.exit(main())\n"
    )
    code, log = run(script, "submit", "-")

    assert code == 128 + number
    assert log == f"poolmgr: {number.name}: ended early\n"


@each_signal
def test_a_signal_in_a_destructor_ends_the_command(
    number: signal.Signals,
) -> None:
    script = (
        "import os, sys, time\n"
        "class Last:\n"
        "    def __del__(self):\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "class Input:\n"
        "    buffer = property(lambda self: self)\n"
        "    def read(self):\n"
        "        Last()\n"
        "        time.sleep(3600)\n"
        "sys.stdin = Input()\n"
        "from poolmgr.cli.app import main\n"
        "main(['submit', '-'])\n"
    )
    code, log = run(script)

    assert code == 128 + number
    assert log == f"poolmgr: {number.name}: ended early\n"


@each_signal
def test_a_signal_after_the_end_does_not_change_the_exit_code(
    number: signal.Signals,
) -> None:
    script = (
        "import os, sys\n"
        "from poolmgr.cli.app import main\n"
        "class Last:\n"
        "    def __del__(self, kill=os.kill, pid=os.getpid()):\n"
        f"        kill(pid, {int(number)})\n"
        "last = Last()\n"
        "sys.exit(main(['help']))\n"
    )
    code, log = run(script)

    assert (code, log) == (0, "")


def test_a_signal_ends_the_import_of_a_plugin(tmp_path: Path) -> None:
    module = """
        import sys, time

        print("importing", file=sys.stderr)
        time.sleep(3600)
        """
    plugin = plugin_beside(
        tmp_path, module, poolmgr__actions="SLOW = stranger:Slow"
    )
    process = Process(
        ["slow", "--help"],
        PYTHONPATH=str(plugin),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )
    try:
        process.wait_for("importing")
        process.signal(signal.SIGTERM)

        assert process.exit_code() == 143
    finally:
        process.end()


def test_a_pending_sighup_does_not_end_a_worker() -> None:
    script = (
        "import os, signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    with builtin() as server:
        with worker(
            [str(server.address)], through=(sys.executable, "-c", script)
        ) as process:
            process.wait_for("configuration reloaded")
            process.signal(signal.SIGTERM)

            assert process.exit_code() == 0


def test_sighup_stays_ignored_under_nohup(tmp_path: Path) -> None:
    state = tmp_path / "cloud.db"
    nohup = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    with building(state, *nohup) as process:
        process.signal(signal.SIGHUP)
        process.signal(signal.SIGTERM)

        assert process.exit_code() == 143


# -- other commands ---------------------------------------------------------


@each_signal
@pytest.mark.parametrize(
    "args", [["submit", "{}"], ["status"], ["status", "--watch"]]
)
def test_a_signal_ends_a_command_that_waits_for_a_job_server(
    number: signal.Signals, args: list[str]
) -> None:
    with peer(is_silent) as server:
        process = Process(["--gearman-server", str(server.address), *args])
        try:
            until(lambda: server.times, TIMEOUT)
            process.signal(number)
            code = process.exit_code()
        finally:
            process.end()

    if "--watch" in args and number == signal.SIGINT:
        # Ctrl-C is the normal end of --watch.
        assert (code, process.lines) == (0, [])
    else:
        message = f"poolmgr: {number.name}: ended early\n"
        assert (code, process.lines) == (128 + number, [message])


@each_signal
@pytest.mark.parametrize("args", [["check"], ["device", "list"], ["reap"]])
def test_a_signal_ends_a_command_that_waits_for_the_cloud(
    number: signal.Signals, args: list[str]
) -> None:
    with peer(is_silent) as cloud:
        process = Process(
            args,
            OS_NOVA__AUTH_URL=f"http://{cloud.address}/v3",
            OS_NOVA__USERNAME="u",
            OS_NOVA__PASSWORD="secret",
            OS_NOVA__PROJECT_NAME="p",
        )
        try:
            until(lambda: cloud.times, TIMEOUT)
            process.signal(number)

            assert process.exit_code() == 128 + number
        finally:
            process.end()

    assert process.lines[-1] == f"poolmgr: {number.name}: ended early\n"


@pytest.mark.parametrize("args", [["build-device"], ["build-ip"]])
def test_a_signal_ends_a_build_that_waits_for_the_login(
    args: list[str],
) -> None:
    with peer(is_silent) as cloud:
        process = Process(
            [*args, "--count", "3"],
            OS_NOVA__AUTH_URL=f"http://{cloud.address}/v3",
            OS_NOVA__USERNAME="u",
            OS_NOVA__PASSWORD="secret",
            OS_NOVA__PROJECT_NAME="p",
            OS_NOVA__IMAGE="tiny",
            OS_NOVA__FLAVOR="m1.nano",
            OS_NOVA__CALL_TIMEOUT="600",
        )
        try:
            until(lambda: cloud.times, TIMEOUT)
            logins = len(cloud.times)
            process.signal(signal.SIGTERM)

            assert process.exit_code() == 143
        finally:
            process.end()
        assert len(cloud.times) == logins

    assert process.lines[-1] == f"poolmgr: SIGTERM: ended early; {DELETED}\n"
