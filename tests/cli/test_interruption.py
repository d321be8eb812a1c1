"""A command that a signal ends cleans up, and says so in one line."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.clouds import fake_devices, nova_group
from tests.environments import install_beside
from tests.jobservers import builtin
from tests.peers import black_hole, is_silent, peer
from tests.polling import until
from tests.processes import TIMEOUT, Process, poolmgr, worker

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DELETED = "3 of 3 had started; everything created was deleted"

each = pytest.mark.parametrize("number", ENDING)


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


@each
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
@each
def test_process_1_of_a_container_cleans_up_too(
    number: signal.Signals, tmp_path: Path
) -> None:
    state = tmp_path / "cloud.db"
    alone = ("unshare", "--fork", "--pid", "--kill-child")
    with building(state, *alone) as process:
        task = f"/proc/{process.pid}/task/{process.pid}"
        first = int(Path(task, "children").read_text())
        os.kill(first, number)

        assert process.exit_code() == 128 + number

    assert fake_devices(state) == []


def test_simultaneous_signals_count_as_one(tmp_path: Path) -> None:
    state = tmp_path / "cloud.db"
    with building(state) as process:
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGHUP)
        process.signal(signal.SIGINT)

        assert process.exit_code() in {128 + number for number in ENDING}

    assert len(process.lines) == 1
    assert fake_devices(state) == []


@contextmanager
def stopped(
    tmp_path: Path, fault: Fault
) -> Iterator[tuple[LoopbackCloud, Process]]:
    """Run a build on a loopback cloud, and send it SIGTERM."""
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


def test_a_second_signal_ends_the_command_at_once(tmp_path: Path) -> None:
    hangs = Fault("DELETE", "/servers/[^/]+", hang=3600.0)
    with stopped(tmp_path, hangs) as (cloud, process):
        until(lambda: cloud.count("DELETE"), TIMEOUT)
        # Those that come together with the first are one with it.
        until(lambda: process.ended_by(signal.SIGTERM), TIMEOUT)

        assert process.exit_code() == 143
        assert len(cloud.servers) == 1

    assert "SIGTERM again: stopping at once" in process.lines[-1]


def test_resources_that_could_not_be_deleted_are_reported(
    tmp_path: Path,
) -> None:
    refused = Fault("DELETE", "/servers/[^/]+", status=403, times=None)
    with stopped(tmp_path, refused) as (_cloud, process):
        assert process.exit_code() == 143

    assert "1 could not be deleted" in process.lines[-1]


# -- signals at odd moments -------------------------------------------------


@each
def test_a_signal_before_the_start_ends_the_command(
    number: signal.Signals,
) -> None:
    script = (
        "import os, signal, sys\n"
        f"signal.pthread_sigmask(signal.SIG_BLOCK, [{int(number)}])\n"
        f"os.kill(os.getpid(), {int(number)})\n"
        "command = [sys.executable, '-m', 'poolmgr']\n"
        "os.execv(command[0], [*command, 'submit', '-'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )

    assert done.returncode == 128 + number
    assert done.stderr == f"poolmgr: {number.name}: ended early\n"


@each
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
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")


@contextmanager
def importing(name: str, module: str, folder: Path) -> Iterator[Process]:
    """Run a command that imports a module whose import never ends."""
    beside = install_beside(
        folder,
        f"poolmgr-{name}",
        module,
        poolmgr__actions=f"{name.upper()} = poolmgr_{name}:{name.title()}",
    )
    process = Process(
        [name, "--help"],
        PYTHONPATH=str(beside),
        XDG_CACHE_HOME=str(folder / "cache"),
    )
    try:
        yield process
    finally:
        process.end()


def test_a_signal_ends_the_import_of_a_plugin(
    tmp_path: Path,
) -> None:
    module = """
        import sys, time

        print("imported", file=sys.stderr)
        time.sleep(3600)
        """
    with importing("slow", module, tmp_path) as process:
        process.wait_for("imported")
        process.signal(signal.SIGTERM)

        assert process.exit_code() == 143


def test_sighup_before_the_start_does_not_end_a_worker() -> None:
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
    with building(state, "sh", "-c", 'trap "" HUP; exec "$@"', "sh") as it:
        it.signal(signal.SIGHUP)
        it.signal(signal.SIGTERM)

        assert it.exit_code() == 143


# -- other commands ---------------------------------------------------------


@each
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

    # Ctrl-C is the normal end of --watch.
    is_end = "--watch" in args and number == signal.SIGINT
    said = f"poolmgr: {number.name}: ended early\n"
    expected = (0, []) if is_end else (128 + number, [said])
    assert (code, process.lines) == expected


@each
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
def test_a_signal_ends_a_build_that_waits_for_its_login(
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


@each
def test_a_signal_ends_the_demo(number: signal.Signals) -> None:
    process = Process(["--verbose", "demo"])
    try:
        process.wait_for("registered")
        process.signal(number)

        assert process.exit_code() in (0, 128 + number)
    finally:
        process.end()

    assert not any("Traceback" in line for line in process.lines)


# -- the timeout of submit --------------------------------------------------


def test_the_timeout_of_submit_includes_a_silent_server() -> None:
    with peer(is_silent) as server:
        done = poolmgr(
            *("--gearman-server", str(server.address)),
            *("submit", "--timeout", "0.5", "{}"),
        )

    assert done.returncode == 1
    assert str(server.address) in done.stderr
    assert "0.5 s" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_timeout_of_submit_includes_an_unreachable_server() -> None:
    with black_hole() as hole:
        done = poolmgr(
            *("--gearman-server", str(hole), "submit"),
            *("--timeout", "0.5", "{}"),
        )

    assert done.returncode == 1
    assert "0.5 s" in done.stderr


def test_submit_tries_the_next_server_within_its_timeout() -> None:
    with black_hole() as hole, builtin() as server:
        with worker([str(server.address)]) as serving:
            serving.wait_for("registered")
            done = poolmgr(
                *("--gearman-server", str(hole)),
                *("--gearman-server", str(server.address)),
                *("submit", "--timeout", "10", '{"action": "BUILD_IP"}'),
            )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["response"] == "PASS"


@pytest.mark.parametrize("text", ["nan", "inf", "0", "-1", "soon"])
def test_an_invalid_timeout_is_refused(text: str) -> None:
    done = poolmgr("submit", "--timeout", text, "{}")

    assert done.returncode == 2
    assert "--timeout: must be more than 0" in done.stderr
