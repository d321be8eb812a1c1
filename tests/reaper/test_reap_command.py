"""Tests of the command ``poolmgr reap``."""

import json
import sys
from pathlib import Path

import pytest

from tests.clouds import fake_devices
from tests.jobservers import free_port, gearmand
from tests.processes import poolmgr
from tests.terminals import terminal


@pytest.fixture
def options(state: Path, tmp_path: Path) -> list[str]:
    """Return the options of a command on the cloud with orphans."""
    config = tmp_path / "poolmgr.conf"
    config.write_text(f"[fake]\nstate = {state}\n")
    return ["--driver", "fake", "--config-file", str(config)]


def test_a_dry_run_lists_orphans_with_reasons(
    state: Path, options: list[str]
) -> None:
    with gearmand() as server:
        options += ["--gearman-server", str(server.address)]

        done = poolmgr(*options, "reap", "--dry-run", "-f", "json")

    assert done.returncode == 0, done.stderr
    device, ip = json.loads(done.stdout)
    assert (device["Kind"], device["Name"]) == ("device", "libra-left")
    assert (device["Verdict"], device["Job"]) == ("unowned", "unique-1")
    assert device["Reason"] == "job unique-1 was never answered"
    assert device["Age"] >= 7200
    assert (ip["Kind"], ip["Verdict"]) == ("floating IP", "unowned")
    assert set(fake_devices(state)) == {"libra-left", "libra-own"}


def test_reap_deletes_orphans_found_in_two_searches(
    state: Path, options: list[str]
) -> None:
    with gearmand() as server:
        options += ["--gearman-server", str(server.address)]
        one = poolmgr(*options, "reap", "--pause", "0", "--limit", "1")
        rest = poolmgr(*options, "reap", "--pause", "0", "-f", "json")
        none = poolmgr(*options, "reap")

    assert one.returncode == rest.returncode == none.returncode == 0
    assert "removed" in one.stdout
    assert [row["Verdict"] for row in json.loads(rest.stdout)] == ["removed"]
    assert (none.stdout, none.stderr) == (
        "",
        "poolmgr: there are no orphans\n",
    )
    assert set(fake_devices(state)) == {"libra-own"}


def test_reap_works_without_job_servers_on_request(
    state: Path, options: list[str]
) -> None:
    options += ["--gearman-server", f"127.0.0.1:{free_port()}"]

    with_servers = poolmgr(*options, "reap", "--dry-run", "-f", "json")
    recent = poolmgr(
        *(*options, "reap", "--without-job-servers", "--dry-run"),
        *("--older-than", "3h", "-f", "json"),
    )
    done = poolmgr(*options, "reap", "--without-job-servers", "--pause", "0")

    assert {row["Verdict"] for row in json.loads(with_servers.stdout)} == {
        "kept"
    }
    assert {row["Verdict"] for row in json.loads(recent.stdout)} == {"kept"}
    assert done.returncode == 0
    assert set(fake_devices(state)) == {"libra-own"}


@pytest.mark.parametrize(
    ("typed", "code", "left"),
    [
        ("y\r", 0, {"libra-own"}),
        ("\r", 1, {"libra-left", "libra-own"}),
        ("no\r", 1, {"libra-left", "libra-own"}),
    ],
)
def test_reap_asks_for_confirmation_on_a_terminal(
    state: Path, options: list[str], typed: str, code: int, left: set[str]
) -> None:
    options += ["reap", "--without-job-servers", "--pause", "0"]
    with terminal(*options, columns=160) as screen:
        screen.wait_for(lambda: "Delete these (2)?" in screen.text)
        assert "device libra-left: job unique-1" in screen.text
        assert set(fake_devices(state)) == {"libra-left", "libra-own"}

        screen.type(typed)

        assert screen.exit_code() == code
        assert ("nothing was deleted" in screen.text) == bool(code)
    assert set(fake_devices(state)) == left


@pytest.mark.parametrize(
    ("files", "words", "code"),
    [
        ("2>{0}", "Delete these (2)?", 1),
        (">{0}", "Delete these (2)?", 1),
        (">{0} 2>&1", "", 2),
    ],
)
def test_reap_with_redirected_output_does_not_delete_without_asking(
    state: Path,
    options: list[str],
    tmp_path: Path,
    files: str,
    words: str,
    code: int,
) -> None:
    options += ["reap", "--without-job-servers", "--pause", "0"]
    log = tmp_path / "log"
    shell = f'exec "$0" -m poolmgr "$@" {files.format(log)}'
    command = ("sh", "-c", shell, sys.executable)
    with terminal(*options, command=command, columns=160) as screen:
        screen.wait_for(lambda: words in screen.text)
        if words:
            screen.type("\r")
        assert screen.exit_code() == code

    assert set(fake_devices(state)) == {"libra-left", "libra-own"}
    assert ("needs --yes" in log.read_text()) == (code == 2)


@pytest.mark.parametrize(("typed", "code"), [("\x03", 130), ("\x04", 1)])
def test_a_question_without_an_answer_ends_its_line(
    state: Path, options: list[str], typed: str, code: int
) -> None:
    options += ["reap", "--without-job-servers", "--pause", "0"]
    with terminal(*options, columns=160) as screen:
        screen.wait_for(lambda: "Delete these (2)?" in screen.text)
        screen.type(typed)
        assert screen.exit_code() == code

        assert any(line.startswith("poolmgr: ") for line in screen.lines)
    assert set(fake_devices(state)) == {"libra-left", "libra-own"}


def test_reap_does_not_ask_with_yes(state: Path, options: list[str]) -> None:
    options += ["reap", "--without-job-servers", "--pause", "0", "--yes"]
    with terminal(*options) as screen:
        assert screen.exit_code() == 0
    assert set(fake_devices(state)) == {"libra-own"}


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_an_invalid_limit_is_refused(limit: str) -> None:
    done = poolmgr("reap", "--limit", limit)

    assert done.returncode == 2
    assert "--limit" in done.stderr
