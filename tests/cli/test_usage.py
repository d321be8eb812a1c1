"""Tests of usage errors, of help, and of misspelt options in files."""

import threading
from pathlib import Path

import pytest

from poolmgr.cli.commands import Commands
from poolmgr.cli.usage import duration, unknown_command
from tests.config.test_options import LIBRA_CFG
from tests.processes import poolmgr
from tests.terminals import terminal


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["biuld-device"],
            "poolmgr: 'biuld-device' is not a command "
            "(did you mean build-device?). See 'poolmgr --help'",
        ),
        (
            ["help", "wroker"],
            "poolmgr: 'wroker' is not a command (did you mean worker?). See "
            "'poolmgr --help'",
        ),
        (
            ["wroker", "--help"],
            "poolmgr: 'wroker' is not a command (did you mean worker?). See "
            "'poolmgr --help'",
        ),
        (
            ["device", "lst", "--all"],
            "poolmgr: 'device lst' is not a command (did you mean device "
            "list?). See 'poolmgr --help'",
        ),
        (
            ["create-device"],
            "poolmgr: 'create-device' is not a command (did you mean "
            "build-device?). See 'poolmgr --help'",
        ),
        (
            ["delete-devcie", "libra-1"],
            "poolmgr: 'delete-devcie' is not a command (did you mean "
            "delete-device?). See 'poolmgr --help'",
        ),
        (
            ["device", "delete", "x"],
            "poolmgr: 'device delete' is not a command (did you mean "
            "delete-device?). See 'poolmgr --help'",
        ),
        (["zzz"], "poolmgr: 'zzz' is not a command. See 'poolmgr --help'"),
        (
            ["help", "--", "-x"],
            "poolmgr: '-x' is not a command. See 'poolmgr --help'",
        ),
        (
            ["--drivr", "fake", "build-ip"],
            "poolmgr: unexpected argument '--drivr' (did you mean --driver?). "
            "See 'poolmgr --help'",
        ),
        (
            ["build-device", "--cuont=2"],
            "poolmgr: unexpected argument '--cuont' (did you mean "
            "--count or --quote?). See 'poolmgr build-device --help'",
        ),
        (
            ["build-ip", "more"],
            "poolmgr: unexpected argument 'more'. See "
            "'poolmgr build-ip --help'",
        ),
        (
            ["submit"],
            "poolmgr: the following arguments are required: MESSAGE. "
            "See 'poolmgr submit --help'",
        ),
        (
            ["--log-file"],
            "poolmgr: argument --log-file: expected one argument. See "
            "'poolmgr --help'",
        ),
    ],
)
def test_a_usage_error_is_reported_in_one_line_with_a_suggestion(
    args: list[str], message: str
) -> None:
    done = poolmgr(*args)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{message}\n"


@pytest.mark.parametrize(
    "words", ["rea", "wor", "remo", "delete-d x", "d list", "device l"]
)
def test_an_abbreviated_command_is_not_run(words: str) -> None:
    done = poolmgr("--driver", "fake", *words.split())

    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a command" in done.stderr


@pytest.mark.parametrize(
    ("words", "commands"),
    [
        ("wor", "worker"),
        ("build-dev", "build-device"),
        ("delete-d", "delete-device"),
        ("server list", "device list"),
        ("floating-ip list", "ip list"),
        ("floatingip", "assign-ip or build-ip or ip list or ip show"),
        ("ip", "assign-ip or build-ip or ip list or ip show"),
        ("device libra-1", "build-device or device list or device show"),
        ("attach-ip", "assign-ip"),
        ("assign ip", "assign-ip"),
        ("create", "build-device or build-ip"),
        ("build", "build-device or build-ip"),
        ("ls", "device list or ip list or plugin list"),
        ("list", "device list or ip list or plugin list"),
        ("show", "config show or device show or ip show"),
        ("config list", "config convert or config show"),
        ("plugins", "plugin list"),
        ("queues", "status"),
        ("version", "--version"),
        ("rm", "delete-device or delete-ip"),
        ("rm libra-1", "delete-device or delete-ip"),
        ("delete", "delete-device or delete-ip"),
        ("remove", "delete-device or delete-ip or remove-ip"),
        ("remove device", "delete-device"),
        ("remove-server", "delete-device"),
        ("device remove", "delete-device"),
        ("remove ip", "remove-ip"),
        ("detach-ip", "remove-ip"),
    ],
)
def test_commands_that_fit_the_words_are_suggested(
    words: str, commands: str
) -> None:
    error = unknown_command(words.split(), Commands().commands)

    assert f"(did you mean {commands}?)" in error


@pytest.mark.parametrize(
    "word",
    ["relete-device", "delte-device", "select-ip", "remote-ip", "reaper"]
    + ["heap", "read", "move-ip", "re-ip", "repair", "rea", "orphans"],
)
def test_a_destructive_command_is_not_suggested_for_a_similar_word(
    word: str,
) -> None:
    error = poolmgr(word, "x").stderr

    assert "is not a command" in error
    suggestions = error.replace(word, "")
    for destructive in ("delete", "remove", "reap"):
        assert destructive not in suggestions


@pytest.mark.parametrize(
    "option",
    ["--config-file", "--config-dir", "--os-cloud", "--log-file"]
    + ["--log-config-append"],
)
def test_an_empty_name_is_refused(option: str) -> None:
    done = poolmgr(option, "", "plugin", "list")

    assert (done.returncode, done.stdout) == (2, "")
    assert f"argument {option}: must not be empty. See" in done.stderr


def test_a_pause_of_any_length_can_be_waited_for() -> None:
    assert duration("2h") == 7200
    assert duration("99999999999") < threading.TIMEOUT_MAX


def test_an_unknown_column_of_a_list_is_refused() -> None:
    done = poolmgr("plugin", "list", "-c", "Naem")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "poolmgr: argument -c/--column: invalid choice: 'naem' (choose from "
        "'kind', 'name', 'package', 'state', 'error'). See 'poolmgr plugin "
        "list --help'\n"
    )


def test_an_unknown_field_is_refused_without_a_call_to_the_cloud() -> None:
    done = poolmgr("device", "show", "libra-1", "-c", "nmae")

    assert (done.returncode, done.stdout) == (2, "")
    assert "invalid choice: 'nmae' (choose from 'id', 'name', " in done.stderr


def test_help_with_the_first_word_of_commands_lists_these_commands() -> None:
    for args in (["help", "device"], ["device", "--help"]):
        done = poolmgr(*args)

        assert (done.returncode, done.stderr) == (0, "")
        assert "  device list\n  device show\n" in done.stdout


def test_help_fits_the_terminal() -> None:
    with terminal("--help", columns=50, rows=100) as shown:
        assert shown.exit_code() == 0

        first = next(
            n for n, line in enumerate(shown.lines) if "assign-ip" in line
        )
        assert shown.lines[first - 1 : first + 3] == [
            "run an action without a job server:",
            "  assign-ip       Attach a floating IP to a",
            "                  device; move it if it is",
            "                  attached elsewhere",
        ]


# -- names in configuration files -------------------------------------------

MISSPELT = """\
[poolmgr]
basenmae = x
zzz = 1
[workr]
long_jobs = 1
[worker]
driver = haproxy
log_levl = debug
[mgm]
nova_imgae = i
rm_fip_ignore_500 = 1
[fake]
nonsense = 1
[admin_api]
threads = 1
"""


@pytest.mark.parametrize("command", [["check"], ["config", "show"]])
def test_unknown_options_are_reported(
    tmp_path: Path, command: list[str]
) -> None:
    path = tmp_path / "a.conf"
    path.write_text(MISSPELT)

    done = poolmgr("--config-file", str(path), "--driver", "fake", *command)

    unused = "poolmgr does not use it"
    assert done.returncode == 0
    reports = [x for x in done.stderr.splitlines() if str(path) in x]
    assert reports == [
        f"poolmgr: {option} in {path}, line {number} has no effect: {reason}"
        for option, number, reason in (
            ("[poolmgr] basenmae", 2, "did you mean [poolmgr] basename?"),
            ("[poolmgr] zzz", 3, unused),
            ("[workr] long_jobs", 5, "did you mean [worker] long_jobs?"),
            ("[worker] log_levl", 8, "did you mean [worker] log_level?"),
            ("[mgm] nova_imgae", 10, "did you mean [mgm] nova_image?"),
            ("[mgm] rm_fip_ignore_500", 11, unused),
            ("[fake] nonsense", 13, unused),
        )
    ]


def test_a_worker_reports_unknown_options(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("[reaper]\nmod = off\n")
    args = ["--config-file", str(path), "--driver", "fake"]

    # The invalid address of a job server ends the worker at its start.
    done = poolmgr(*args, "worker", OS_GEARMAN__SERVERS="a:b")

    assert "[reaper] mod in" in done.stderr
    assert "did you mean [reaper] mode?" in done.stderr


def test_options_of_libra_are_not_taken_for_misspelt(tmp_path: Path) -> None:
    path = tmp_path / "libra.cfg"
    path.write_text(LIBRA_CFG)

    done = poolmgr("--config-file", str(path), "config", "show")

    assert done.returncode == 0
    assert "has no effect: poolmgr does not use it" in done.stderr
    assert "did you mean" not in done.stderr
