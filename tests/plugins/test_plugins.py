"""Tests of installed plugin packages."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from poolmgr import errors
from poolmgr.actions.base import action_plugins
from poolmgr.drivers.verbs import driver_plugins
from tests import environments, processes


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the example package."""
    return environments.example_beside(tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a package whose module cannot be imported."""
    return environments.install_beside(
        tmp_path_factory.mktemp("broken"),
        "poolmgr-broken",
        """
        import sys

        print("imported", file=sys.stderr)
        raise RuntimeError("it never worked")
        """,
        poolmgr__actions="BREAK = poolmgr_broken:Break",
        poolmgr__drivers="broken = poolmgr_broken:Driver",
    )


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a package with an action of the example package."""
    return environments.install_beside(
        tmp_path_factory.mktemp("twin"),
        "poolmgr-twin",
        "class Count: pass",
        poolmgr__actions="count_devices = poolmgr_twin:Count",
    )


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a package with an action that has the name of a command."""
    return environments.install_beside(
        tmp_path_factory.mktemp("hidden"),
        "poolmgr-hidden",
        """
        from dataclasses import dataclass

        from poolmgr.actions.base import Action


        @dataclass(frozen=True)
        class Request:
            pass


        class Reap(Action[Request]):
            takes = Request

            def run(self, request, context):
                return {}
        """,
        poolmgr__actions="REAP = poolmgr_hidden:Reap",
    )


def poolmgr(*args: str, beside: Sequence[Path]) -> CompletedProcess[str]:
    """Run a command that finds these packages."""
    path = os.pathsep.join(map(str, beside))
    return processes.poolmgr(*args, PYTHONPATH=path)


def list_plugins(*beside: Path) -> list[dict]:  # type: ignore[type-arg]
    """Return the rows of ``plugin list``."""
    done = poolmgr("plugin", "list", "-f", "json", beside=beside)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def run_on_rack(example: Path, *args: str) -> CompletedProcess[str]:
    """Run a command with the driver of the example package."""
    return poolmgr("--driver", "rack", *args, beside=[example])


def test_a_driver_of_a_package_runs_actions(example: Path) -> None:
    done = run_on_rack(example, "build-device", "-f", "json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["addr"] == "192.0.2.1"


def test_an_action_of_a_package_is_a_command(example: Path) -> None:
    done = run_on_rack(example, "count-devices", "-f", "json")

    assert json.loads(done.stdout) == {
        "action": "COUNT_DEVICES",
        "count": 0,
        "response": "PASS",
    }


def test_an_invalid_field_of_a_packages_action_is_reported(
    example: Path,
) -> None:
    done = run_on_rack(example, "count-devices", "--field-prefix", "\n")

    assert (done.returncode, done.stderr) == (
        2,
        "poolmgr: 'prefix' must be printable text of 1 to 255 characters\n",
    )


def test_help_describes_the_action_of_a_package(example: Path) -> None:
    commands = poolmgr("-h", beside=[example]).stdout
    command = poolmgr("count-devices", "--help", beside=[example]).stdout

    assert "count-devices   Count the devices" in commands
    assert "Count the devices." in command
    assert "--field-prefix PREFIX" in command
    assert "count only names with this prefix" in command


def test_plugins_are_listed_with_their_packages(
    example: Path,
) -> None:
    found = {(r["Kind"], r["Name"]): r for r in list_plugins(example)}

    assert found["action", "COUNT_DEVICES"]["Package"] == "poolmgr-rack 1.0.0"
    assert found["driver", "rack"]["State"] == "ok"
    assert found["driver", "fake"]["Package"].startswith("poolmgr ")


def test_help_and_other_commands_do_not_import_a_plugin(
    example: Path, broken: Path
) -> None:
    beside = [example, broken]
    help_ = poolmgr("--help", beside=beside)

    assert "break" in help_.stdout
    assert "imported" not in help_.stderr
    for command in (["build-ip"], ["build-ip", "--help"]):
        done = poolmgr("--driver", "fake", *command, beside=beside)
        assert (done.returncode, done.stderr) == (0, "")


def test_two_plugins_of_one_name_are_refused_and_both_reported(
    example: Path, twin: Path
) -> None:
    names = (
        "poolmgr_rack.count:CountDevices (poolmgr-rack 1.0.0)",
        "poolmgr_twin:Count (poolmgr-twin 1)",
    )

    for command in (["count-devices"], ["worker"]):
        done = poolmgr("--driver", "fake", *command, beside=[example, twin])
        assert done.returncode == 1
        for name in names:
            assert name in done.stderr

    conflicts = [r for r in list_plugins(example, twin) if r["State"] != "ok"]
    assert {r["State"] for r in conflicts} == {"conflict"}
    assert len(conflicts) == 2
    done = poolmgr("--driver", "fake", "build-ip", beside=[example, twin])
    assert done.returncode == 0


def test_an_action_with_the_name_of_a_command_is_listed_as_hidden(
    example: Path, hidden: Path
) -> None:
    found = {r["Name"]: r for r in list_plugins(example, hidden)}

    assert found["REAP"]["State"] == "hidden"
    assert "'poolmgr reap' is another command" in found["REAP"]["Error"]
    assert {r["State"] for n, r in found.items() if n != "REAP"} == {"ok"}


def test_reap_names_actions_that_cannot_be_loaded(
    example: Path, broken: Path
) -> None:
    done = poolmgr("--driver", "fake", "reap", beside=[example, broken])

    assert done.returncode == 0
    lines = [line for line in done.stderr.splitlines() if "'BREAK'" in line]
    assert len(lines) == 1
    assert "it never worked" in lines[0]


# -- the registry -----------------------------------------------------------


def test_poolmgrs_own_plugins_load() -> None:
    plugins = [*action_plugins().inspect(), *driver_plugins().inspect()]

    assert {p.state for p in plugins if p.package.startswith("poolmgr ")} == {
        "ok"
    }
    assert {p.name for p in plugins} >= {
        "ASSIGN_IP",
        "BUILD_DEVICE",
        "BUILD_IP",
        "DELETE_DEVICE",
        "DELETE_IP",
        "REMOVE_IP",
        "fake",
    }


def test_an_unknown_name_is_reported_with_the_known_names() -> None:
    with pytest.raises(errors.PluginNotFound, match="NOPE.*BUILD_IP"):
        action_plugins().load("NOPE")
