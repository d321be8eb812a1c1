"""Tests of the commands in real processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.environments import plugin_beside, visible
from tests.jobservers import free_port
from tests.processes import TIMEOUT, poolmgr

DEVICE = "libra-eaf1fef0-1584-11e3-b42b-02163e192df9"


def test_commands_share_the_state_of_the_fake_cloud(
    cloud: dict[str, str],
) -> None:
    device = json.loads(poolmgr("build-device", "-f", "json", **cloud).stdout)
    ip = poolmgr("build-ip", "-f", "value", "-c", "ip", **cloud).stdout.strip()

    assert device["response"] == "PASS"
    assert device.keys() == {
        "action",
        "name",
        "addr",
        "type",
        "az",
        "response",
    }
    for command in (
        ["assign-ip", ip, device["name"]],
        ["remove-ip", ip, device["name"]],
        ["delete-ip", ip],
        ["delete-device", device["name"]],
    ):
        done = poolmgr(*command, "-f", "json", **cloud)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["response"] == "PASS"
    assert poolmgr("delete-ip", ip, **cloud).returncode == 1


@pytest.mark.parametrize(
    "format_", ["json", "yaml", "value", "table", "shell"]
)
def test_a_result_is_printed_in_every_format(
    cloud: dict[str, str], format_: str
) -> None:
    done = poolmgr("build-ip", "-f", format_, **cloud)

    assert (done.returncode, done.stderr) == (0, "")
    assert "198.18.0.1" in done.stdout


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [
        (["delete-device", DEVICE], 1, f"there is no device '{DEVICE}'"),
        (["delete-ip", "300.1.1.1"], 2, "'ip' must be an IP address"),
        (["delete-device", "../k\n"], 2, "'name' must be a device's name"),
    ],
)
def test_a_failed_job_is_reported_by_exit_code_and_one_line(
    cloud: dict[str, str], command: list[str], code: int, reason: str
) -> None:
    done = poolmgr(*command, **cloud)

    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.startswith(f"poolmgr: {reason}")
    assert done.stderr.count("\n") == 1


def test_an_exhausted_quota_is_reported_once(cloud: dict[str, str]) -> None:
    done = poolmgr("build-device", OS_FAKE__DEVICE_QUOTA="0", **cloud)

    assert done.returncode == 1
    assert done.stderr.count("quota") == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--driver", "nope", "build-ip"], 2, "invalid choice: 'nope'"),
        (["--config-file", "/nowhere", "build-ip"], 1, "/nowhere"),
        (
            ["build-ip"],
            1,
            "no cloud is configured; name the cloud with --os-cloud",
        ),
        (
            ["worker"],
            1,
            "no cloud is configured; name the cloud with --os-cloud",
        ),
        (
            ["--driver", "fake", "--gearman-server", "a:b", "worker"],
            2,
            "'a:b'",
        ),
    ],
)
def test_a_wrong_option_value_is_reported(
    args: list[str], code: int, words: str
) -> None:
    done = poolmgr(*args)

    assert done.returncode == code
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    if code == 1:
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("[gearman]\nssl_cert = c.pem\n", "ssl"),
        ("[gearman]\nssl_ca = /nowhere/ca.pem\n", "/nowhere/ca.pem"),
        ("[worker]\nlong_jobs = 0\n", "long_jobs"),
        ("[poolmgr]\nbasename = " + "a" * 27 + "\n", "at most 26"),
    ],
)
def test_a_worker_that_cannot_start_reports_the_reason_in_one_line(
    tmp_path: Path, config: str, words: str
) -> None:
    path = tmp_path / "worker.conf"
    path.write_text(config)

    done = poolmgr("--driver", "fake", "--config-file", str(path), "worker")

    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_lists_commands_and_options() -> None:
    for args in (["--help"], ["-h"], ["help"], []):
        done = poolmgr(*args)
        assert (done.returncode, done.stderr) == (0, "")
        for line in (
            "build-device    Boot a device and return its name and address",
            "worker          Run a worker until a signal stops it",
            "--gearman-server HOST:PORT",
        ):
            assert line in done.stdout


@pytest.mark.parametrize("args", [["worker", "--help"], ["help", "worker"]])
def test_a_commands_help_describes_its_exit_codes(args: list[str]) -> None:
    done = poolmgr(*args)

    assert done.returncode == 0
    assert "\n\nExit codes: 0: all running" in done.stdout


def test_an_actions_help_is_its_docstring_and_fields() -> None:
    done = poolmgr("assign-ip", "--help")

    assert "Attach a floating IP to a device" in done.stdout
    assert "address of the floating IP" in done.stdout


def test_version_is_printed() -> None:
    assert poolmgr("--version").stdout == "poolmgr 0.1.0\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "words", ["--version", "-v --version", "--help", "plugin list -f json"]
)
def test_output_that_cannot_be_written_is_reported(
    words: str, unbuffered: str
) -> None:
    def run(out: int) -> tuple[int, bytes]:
        done = subprocess.run(
            [sys.executable, "-m", "poolmgr", *words.split()],
            stdout=out,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
        os.close(out)
        return done.returncode, done.stderr

    reading, closed_pipe = os.pipe()
    os.close(reading)

    assert run(closed_pipe) == (141, b"")
    code, message = run(os.open("/dev/full", os.O_WRONLY))
    assert (code, message.count(b"\n")) == (1, 1)
    assert message.startswith(b"poolmgr: [Errno 28] No space left")


def test_a_name_that_the_terminal_cannot_show_is_escaped(
    cloud: dict[str, str],
) -> None:
    done = poolmgr(
        *("build-device", "-f", "value", "-c", "type"),
        **cloud,
        OS_FAKE__IMAGE="Größe",
        PYTHONIOENCODING="ascii",
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "basename: libra, image: Gr\\xf6\\xdfe\n"


def test_a_command_works_with_closed_standard_files() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh"]
        + [sys.executable, "-m", "poolmgr", "--driver", "fake", "build-ip"],
        timeout=TIMEOUT,
        check=False,
    )

    assert done.returncode == 0


def test_debug_prints_the_traceback(cloud: dict[str, str]) -> None:
    done = poolmgr("--debug", "delete-device", DEVICE, **cloud)

    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "NotFound" in done.stderr


def test_a_log_file_is_written(cloud: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "poolmgr.log"

    poolmgr("--verbose", "--log-file", str(path), "build-ip", **cloud)

    assert "action=BUILD_IP" in path.read_text()


def run_without_coverage(program: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program that coverage imports nothing into."""
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if "COVERAGE" not in k},
    )


@pytest.mark.parametrize(
    ("args", "unwanted"),
    [
        (
            ["--help"],
            "openstack keystoneauth1 oslo_config asyncio ssl sqlite3 rich "
            "jinja2 poolmgr.jobs.manager poolmgr.actions poolmgr.drivers cmd2",
        ),
        (
            ["--version"],
            "openstack oslo_config asyncio poolmgr.jobs.manager cmd2",
        ),
        (
            ["build-ip", "--help"],
            "openstack sqlite3 poolmgr.actions.build_device",
        ),
        (["--driver", "fake", "build-ip"], "openstack cmd2"),
        (["device", "list", "--help"], "openstack oslo_config"),
        (["--driver", "fake", "ip", "list"], "openstack cmd2"),
    ],
)
def test_commands_import_only_what_they_need(
    args: list[str], unwanted: str
) -> None:
    program = (
        "import sys\n"
        "from poolmgr.cli.app import main\n"
        "try:\n"
        f"    main({args!r})\n"
        "except SystemExit:\n"
        "    pass\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = run_without_coverage(program)

    loaded = set(done.stderr.split())
    assert "cliff.app" in loaded
    assert loaded.isdisjoint(unwanted.split())


def test_importing_the_library_imports_nothing_else() -> None:
    program = "import poolmgr, sys; print(*sys.modules)"
    done = run_without_coverage(program)

    loaded = {
        name
        for name in done.stdout.split()
        if name.partition(".")[0] in ("poolmgr", "openstack", "stevedore")
    }
    assert loaded == {"poolmgr"}


@pytest.mark.parametrize("command", [["status"], ["submit", "{}"]])
def test_an_unreachable_job_server_is_reported_with_advice(
    command: list[str],
) -> None:
    server = f"127.0.0.1:{free_port()}"

    done = poolmgr("--gearman-server", server, *command)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"{server}: Connection refused; start gearmand there, or" in line


TAG_IT = """
from dataclasses import dataclass, field

from poolmgr.actions.base import Action, text

@dataclass(frozen=True)
class Request:
    name: str = field(metadata=text("name"))
    version: str = field(default="", metadata=text("version"))
    help: str = field(default="", metadata=text("help"))

class TagIt(Action[Request]):
    takes = Request
    answers = ("tag",)

    def run(self, request, context):
        return {"tag": request.name + request.version + request.help}
"""


@pytest.fixture
def tag_it(tmp_path: Path) -> Callable[..., CompletedProcess[str]]:
    """Return a function that runs an action with optional fields."""
    folder = plugin_beside(
        tmp_path, TAG_IT, poolmgr__actions="TAG_IT = stranger:TagIt"
    )
    run = partial(poolmgr, "--driver", "fake", "tag-it", **visible(folder))
    return partial(run, "-f", "json")


def test_a_field_may_have_the_name_of_a_global_option(
    tag_it: Callable[..., CompletedProcess[str]],
) -> None:
    done = tag_it("a", "--field-version", "3", "--field-help", "!")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["tag"] == "a3!"


def test_a_field_that_the_answer_lacks_is_an_empty_column(
    tag_it: Callable[..., CompletedProcess[str]],
) -> None:
    done = tag_it("a", "-c", "tag", "-c", "version")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"version": None, "tag": "a"}


def test_version_alone_imports_no_command_line() -> None:
    """Scripts and probes often ask for it."""
    program = (
        "import sys\n"
        "from poolmgr.__main__ import main\n"
        "sys.argv[1:] = ['--version']\n"
        "main()\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = run_without_coverage(program)

    assert done.stdout.startswith("poolmgr ")
    assert {"asyncio", "cliff.app"}.isdisjoint(done.stderr.split())
