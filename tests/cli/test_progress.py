"""Tests of ``--count`` and of the progress line."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from tests.clouds import fake_devices
from tests.jobservers import builtin
from tests.peers import is_silent, peer
from tests.processes import poolmgr
from tests.terminals import terminal


def count_devices(cloud: dict[str, str]) -> int:
    """Count the devices in the cloud."""
    return len(fake_devices(Path(cloud["OS_FAKE__STATE"])))


# -- several jobs -----------------------------------------------------------


def test_count_builds_that_many_devices(cloud: dict[str, str]) -> None:
    done = poolmgr("build-device", "--count", "5", "-f", "json", **cloud)

    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert len({row["name"] for row in rows}) == 5
    assert len({row["addr"] for row in rows}) == 5
    assert {(row["response"], row["error"]) for row in rows} == {
        ("PASS", None)
    }
    assert count_devices(cloud) == 5


@pytest.mark.parametrize("args", [["--count", "1"], ["-c", "error"]])
def test_one_job_can_be_shown_as_a_list(
    cloud: dict[str, str], args: list[str]
) -> None:
    columns = ["-f", "json", "-c", "ip"]
    done = poolmgr("build-ip", *columns, *args, **cloud)

    (row,) = json.loads(done.stdout)
    assert row["ip"] == "198.18.0.1"


def test_one_job_can_be_shown_as_csv(cloud: dict[str, str]) -> None:
    done = poolmgr("build-ip", "-f", "csv", "-c", "ip", **cloud)

    assert done.stdout == '"ip"\n"198.18.0.1"\n'


def test_each_failed_build_is_listed_with_its_reason(
    cloud: dict[str, str],
) -> None:
    done = poolmgr(
        *("--quiet", "build-device", "--count", "5", "-f", "csv"),
        **cloud,
        OS_FAKE__DEVICE_QUOTA="2",
    )

    assert done.returncode == 1
    assert done.stderr == "poolmgr: 3 of 5 failed\n"
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    failed = [row for row in rows if row["response"] == "FAIL"]
    assert len(rows) == 5
    assert len(failed) == 3
    assert {row["error"] for row in failed} == {
        "quota of 2 devices is used up"
    }
    assert count_devices(cloud) == 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--count", "0"], "--count: must be 1 or more"),
        (["--count", "2", "-f", "shell"], "-f shell cannot show a list"),
        (["--count", "2", "-c", "nmae"], "invalid choice: 'nmae'"),
        (["-c", "name", "-c", "adr"], "invalid choice: 'adr'"),
    ],
)
def test_nothing_is_built_if_the_output_options_are_wrong(
    cloud: dict[str, str], args: list[str], words: str
) -> None:
    done = poolmgr("build-device", *args, **cloud)

    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert count_devices(cloud) == 0


def test_count_is_refused_for_an_action_with_fields() -> None:
    done = poolmgr("delete-device", "--count", "2", "libra-1")

    assert done.returncode == 2
    assert "unexpected argument '--count'" in done.stderr


# -- progress ---------------------------------------------------------------


def test_a_build_shows_what_it_waits_for(cloud: dict[str, str]) -> None:
    slow = {**cloud, "OS_FAKE__BOOT_TIME": "4"}
    with terminal("build-device", columns=120, environment=slow) as shown:
        line = r"build-device \([1-9]s\): waiting for device 'libra-.*\)$"
        shown.wait_for(lambda: re.search(line, shown.text))

        assert shown.exit_code() == 0
        assert "waiting" not in shown.text
        assert "running" not in shown.text
        assert "PASS" in shown.text


def test_many_builds_show_how_many_are_done(cloud: dict[str, str]) -> None:
    slow = {**cloud, "OS_FAKE__BOOT_TIME": "3", "OS_WORKER__LONG_JOBS": "2"}
    with terminal("build-device", "--count", "4", environment=slow) as shown:
        line = r"build-device \(\ds\): 2/4 done, 2 running"
        shown.wait_for(lambda: re.search(line, shown.text))
        assert shown.exit_code() == 0
        assert "running" not in shown.text


@pytest.mark.parametrize("columns", [40, 15, 1])
def test_the_progress_line_fits_the_terminal(
    cloud: dict[str, str], columns: int
) -> None:
    slow = {**cloud, "OS_FAKE__BOOT_TIME": "4"}
    with terminal(
        *("build-device", "--count", "3", "-f", "value", "-c", "response"),
        columns=columns,
        environment=slow,
    ) as shown:
        # Each time the line is drawn, the one before is erased.
        shown.wait_for(lambda: shown.raw.count(b"\x1b[2K") > 3)

        assert len(shown.lines) <= 1
        assert shown.exit_code() == 0


@pytest.mark.parametrize(
    ("args", "environment"),
    [
        (["--quiet"], {}),
        ([], {"TERM": "dumb"}),
        ([], {"TERM": ""}),
    ],
)
def test_quiet_and_dumb_terminals_show_no_progress(
    cloud: dict[str, str], args: list[str], environment: dict[str, str]
) -> None:
    slow = {**cloud, **environment, "OS_FAKE__BOOT_TIME": "1.5"}
    with terminal(*args, "build-device", environment=slow) as shown:
        assert shown.exit_code() == 0
        assert b"running" not in shown.raw
        assert b"\x1b" not in shown.raw


def test_a_pipe_shows_no_progress(cloud: dict[str, str]) -> None:
    done = poolmgr("build-device", **cloud, OS_FAKE__BOOT_TIME="1.5")

    assert (done.returncode, done.stderr) == (0, "")
    assert "\r" not in done.stdout
    assert "\x1b" not in done.stdout


def test_log_lines_appear_above_the_progress_line(
    cloud: dict[str, str],
) -> None:
    slow = {**cloud, "OS_FAKE__BOOT_TIME": "3", "OS_WORKER__LONG_JOBS": "1"}
    with terminal(
        *("-v", "build-device", "--count", "2", "-f", "value"),
        columns=300,
        environment=slow,
    ) as shown:
        shown.wait_for(lambda: "1/2 done" in shown.text)
        above, line = shown.lines

        assert above.startswith("poolmgr: action=BUILD_DEVICE")
        assert re.search(r" request=req-[0-9a-f-]{36} name=libra-", above)
        assert line.startswith("build-device")
        assert shown.exit_code() == 0


def test_ctrl_c_deletes_finished_and_running_builds(
    cloud: dict[str, str],
) -> None:
    slow = {**cloud, "OS_FAKE__BOOT_TIME": "0.7", "OS_WORKER__LONG_JOBS": "2"}
    with terminal(
        "build-device", "--count", "1000", environment=slow
    ) as shown:
        shown.wait_for(lambda: re.search(r" [1-9]\d*/1000 done", shown.text))
        assert count_devices(cloud) > 2

        shown.type("\x03")

        assert shown.exit_code() == 130
        assert count_devices(cloud) == 0
        assert "running" not in shown.text


@pytest.mark.parametrize("args", [["check"], ["device", "list"]])
def test_a_command_that_waits_for_the_cloud_shows_so(args: list[str]) -> None:
    with peer(is_silent) as keystone:
        url = f"http://{keystone.address}"
        nova = {"OS_NOVA__AUTH_URL": url, "OS_NOVA__USERNAME": "u"}
        login = {**nova, "OS_NOVA__PASSWORD": "p", "OS_NOVA__PROJECT": "p"}
        with terminal(
            *("--driver", "nova", *args), environment=login
        ) as shown:
            line = rf"{' '.join(args)} \(\ds\): asking the cloud$"
            shown.wait_for(lambda: re.search(line, shown.text))


def test_submit_shows_the_handle_of_an_unanswered_job() -> None:
    with builtin() as server:
        with terminal(
            *("--gearman-server", str(server.address), "submit"),
            *("--timeout", "4", "{}"),
        ) as shown:
            shown.wait_for(lambda: "no answer yet to H:" in shown.text)
            assert shown.exit_code() == 1
            assert "no answer within 4 s" in shown.text
            assert "no answer yet" not in shown.text


def test_ctrl_c_clears_a_progress_line_of_full_width() -> None:
    with builtin() as server:
        with terminal(
            *("--gearman-server", str(server.address), "submit", "{}"),
            columns=25,
        ) as shown:
            line = r"submit \(\ds\): no answer"
            shown.wait_for(lambda: re.search(line, shown.text))
            shown.type("\x03")

            assert shown.exit_code() == 130
            assert "submit" not in shown.text
