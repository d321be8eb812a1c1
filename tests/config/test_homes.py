"""Tests for users without a home: no file in the working directory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def bare(**given: str) -> dict[str, str]:
    """Return an environment without folders for the user's files."""
    places = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "PYTHONPATH")
    kept = {k: v for k, v in os.environ.items() if k not in places}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **given}


#: Runs a command as a user without a passwd entry.
AS_UNKNOWN_USER = ["unshare", "--user", "--map-user=54321"]


def can_be_strange() -> bool:
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run([*AS_UNKNOWN_USER, "true"], check=False).returncode == 0
    )


@pytest.mark.parametrize(
    "given",
    [{"HOME": "~"}, {"HOME": "here"}, {"HOME": "/", "XDG_CACHE_HOME": "~/c"}],
)
@pytest.mark.parametrize(
    "command",
    [["--help"], ["plugin", "list"], ["--driver", "fake", "build-ip"]],
)
def test_no_file_is_created_without_a_home(
    given: dict[str, str], command: list[str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "poolmgr", *command],
        cwd=tmp_path,
        env=bare(**given),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not can_be_strange(), reason="needs user namespaces")
def test_a_user_without_a_passwd_entry_can_run_commands(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [*AS_UNKNOWN_USER, sys.executable, "-m", "poolmgr", "plugin", "list"],
        cwd=tmp_path,
        env=bare(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path) == []


def test_importing_leaves_the_environment_unchanged() -> None:
    program = (
        "import os; before = dict(os.environ)\n"
        "import poolmgr.plugins\n"
        "assert dict(os.environ) == before"
    )

    for given in ({}, {"HOME": "~"}, {"XDG_CACHE_HOME": "~"}):
        subprocess.run(
            [sys.executable, "-c", program], env=bare(**given), check=True
        )
