"""Tests of the launcher of the real cloud, without starting it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testcloud import Knobs, Location, running
from testcloud.commands import TestcloudError, run, together, wait_until
from testcloud.knobs import seconds
from testcloud.processes import Daemons

#: The program of a process with a child.
FAMILY = "import subprocess; subprocess.run(['sleep', '600'])"


@pytest.fixture
def location(tmp_path: Path) -> Location:
    """Return a cloud's folder."""
    location = Location(tmp_path / "cloud")
    for folder in (location.data, location.records, location.logs):
        folder.mkdir(parents=True)
    return location


@pytest.fixture
def daemons(location: Location) -> Iterator[Daemons]:
    """Yield a cloud's daemons, and stop them after the test."""
    daemons = Daemons(location)
    yield daemons
    for name in daemons.names():
        daemons.stop(name)


def start_family(daemons: Daemons) -> list[int]:
    """Start a daemon of two processes and return their ids."""
    daemons.start("family", [sys.executable, "-c", FAMILY])
    wait_until("the child", lambda: len(daemons.pids("family")) == 2, 20)
    return daemons.pids("family")


def test_the_environment_sets_the_location(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TESTCLOUD_DIR", raising=False)
    monkeypatch.delenv("TESTCLOUD_PORT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    location = Location.from_environment()
    assert location == Location(Path("/cache/poolmgr-testcloud"), 22000)
    monkeypatch.setenv("TESTCLOUD_DIR", "/here")
    monkeypatch.setenv("TESTCLOUD_PORT", "4000")
    location = Location.from_environment()
    assert location.url("keystone-short") == "http://127.0.0.1:4001/v3"
    assert location.clouds_file == Path("/here/clouds.yaml")


def test_an_empty_folder_has_no_running_cloud(location: Location) -> None:
    assert not running(location)


def test_knobs_are_set_and_reset(tmp_path: Path) -> None:
    knobs = Knobs(tmp_path / "knobs.json")
    assert knobs.get("boot_delay") == 0
    knobs.set("boot_delay", "2-6")
    knobs.set("boot_failure", "broken")
    assert knobs.get("boot_delay") == "2-6"
    knobs.reset()
    assert knobs.get("boot_delay") == 0
    with pytest.raises(KeyError):
        knobs.set("no_such_knob", 1)
    assert os.listdir(tmp_path) == ["knobs.json"]


def test_delays_are_parsed() -> None:
    assert seconds(3) == seconds("3") == 3.0
    assert 2.0 <= seconds("2-6") <= 6.0
    with pytest.raises(ValueError, match="soon"):
        seconds("soon")


def test_a_daemon_is_started_once(daemons: Daemons) -> None:
    first = start_family(daemons)
    assert start_family(daemons) == first
    assert daemons.names() == ["family"]


def test_another_configuration_restarts_a_daemon(
    daemons: Daemons, tmp_path: Path
) -> None:
    file = tmp_path / "conf"
    pids = []
    for text in ("a", "b"):
        file.write_text(text)
        daemons.start("sleep", ["sleep", "600"], file)
        pids.append(daemons.pids("sleep"))
    assert pids[0] != pids[1]


def test_stopping_ends_the_process_group(daemons: Daemons) -> None:
    pids = start_family(daemons)
    daemons.stop("family")
    assert not any(alive(pid) for pid in pids)
    assert daemons.names() == []


def test_children_of_a_killed_daemon_are_ended(daemons: Daemons) -> None:
    leader, child = start_family(daemons)
    os.kill(leader, 9)
    wait_until("the end", lambda: not daemons.alive("family"), 20)
    assert daemons.pids("family") == [child]
    assert child not in start_family(daemons)
    assert not alive(child)


def test_another_process_with_the_same_id_is_not_ended(
    location: Location, daemons: Daemons
) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as other:
        record = {"pid": other.pid, "started": 1, "digest": ""}
        path = location.records / "sleep.json"
        path.write_text(json.dumps(record))
        daemons.stop("sleep")
        assert other.poll() is None
        other.kill()


def test_waiting_for_an_exited_daemon_fails_with_its_output(
    daemons: Daemons,
) -> None:
    daemons.start("brief", ["sh", "-c", "echo the reason; exit 1"])
    with pytest.raises(TestcloudError, match="the reason"):
        daemons.wait("brief", lambda: False)


def test_a_failing_command_shows_its_output(tmp_path: Path) -> None:
    with pytest.raises(TestcloudError, match="the reason"):
        run("sh", "-c", "echo the reason; exit 1", log=tmp_path / "log")


def test_parallel_steps_all_complete() -> None:
    done: list[int] = []
    together(lambda: done.append(1), lambda: done.append(2))
    assert sorted(done) == [1, 2]


def alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"
