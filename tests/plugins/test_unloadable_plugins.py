"""Tests of plugins that cannot be loaded."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.batches import ask
from tests.environments import plugin_beside
from tests.jobservers import builtin
from tests.processes import poolmgr, worker

#: Modules that cannot be imported, and the words of their errors.
MODULES = {
    "raise GeneratorExit": "GeneratorExit",
    "print('import 1'); raise StopIteration('done')": "StopIteration: done",
    "import asyncio; raise asyncio.CancelledError": "CancelledError",
    "import sys; sys.exit(0)": "SystemExit: 0",
    "import pytest; pytest.skip(allow_module_level=True)": "Skipped",
    "def (:": "SyntaxError",
    "class E(BaseException):\n    def __str__(self): raise SystemExit\n"
    "raise E": "E",
}
#: Invalid class attributes, and the words of their errors.
CLASSES = {
    "timeout = float('inf')": "'timeout' must be a number of seconds",
    "timeout = float('nan')": "'timeout' must be a number of seconds",
    "timeout = 10.0 ** 300": "'timeout' must be a number of seconds",
    "timeout = property(lambda self: 5)": "'timeout' must be a number",
    "cleanup_time = float('-inf')": "'cleanup_time' must be a number",
    "cleanup_time = '5'": "'cleanup_time' must be a number of seconds",
    "answers = ['a']": "'answers' must be a tuple of names",
    "answers = Raising()": "LookupError: no",
    "takes = NoFields()": "'takes' must be a dataclass",
}
#: Invalid settings of drivers, and the words of their errors.
SETTINGS = {
    "Settings = None": "'Settings' must be a dataclass",
    "Settings = Raising()": "LookupError: no",
    "Settings = settings('int')": "'x' must be made by setting()",
    "Settings = settings('Nowhere', help='')": "name 'Nowhere' is not defined",
}
#: Invalid targets of entry points, and the words of their errors.
TARGETS = {
    "stranger:Typo": "has no attribute 'Typo'",
    "strangr:A": "No module named 'strangr'",
    "stranger": "is not a subclass of poolmgr.actions.base.Action",
    "stranger:": "AttributeError",
    "my-stranger:A": "AttributeError",
    ".stranger:A": "TypeError",
    "": "AttributeError",
}
#: The words of each plugin's error, by the plugin's name.
ERRORS = {
    f"{prefix}{number}": words
    for prefix, table in (
        ("MODULE", MODULES),
        ("CLASS", CLASSES),
        ("DRIVER", SETTINGS),
        ("TARGET", TARGETS),
    )
    for number, words in enumerate(table.values())
}
SOURCE = """
from dataclasses import dataclass
from poolmgr.actions.base import Action, NoFields
from poolmgr.drivers.fake import FakeCloud
from poolmgr.settings import setting

print('printed by a plugin')

class Base(Action[NoFields]):
    takes = NoFields
    def run(self, request, context): return {}

class Raising:
    def __get__(self, object, owner): raise LookupError('no')

def settings(kind, **rule):
    x = setting(1, **rule) if rule else 1
    body = dict(x=x, __annotations__=dict(x=kind))
    return dataclass(type('Settings', (), body))
"""


def entry_points(prefix: str, targets: Iterable[str]) -> str:
    """Return numbered entry points."""
    numbered = enumerate(targets)
    return "".join(f"{prefix}{n} = {target}\n" for n, target in numbered)


def classes(name: str, base: str, bodies: Iterable[str]) -> str:
    """Return the source of numbered classes, each with one line."""
    numbered = enumerate(bodies)
    return "".join(f"class {name}{n}({base}):\n    {x}\n" for n, x in numbered)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Install the plugins; return the environment in which they are found."""
    source = (
        SOURCE
        + classes("Action", "Base", CLASSES)
        + classes("Driver", "FakeCloud", SETTINGS)
    )
    path = plugin_beside(
        tmp_path_factory.mktemp("unloadable"),
        source,
        {f"module{n}": text for n, text in enumerate(MODULES)},
        poolmgr__actions=(
            entry_points(
                "MODULE", (f"module{n}:A" for n in range(len(MODULES)))
            )
            + entry_points(
                "CLASS", (f"stranger:Action{n}" for n in range(len(CLASSES)))
            )
            + entry_points("TARGET", TARGETS)
            + " = stranger:Nameless"
        ),
        poolmgr__drivers=entry_points(
            "DRIVER", (f"stranger:Driver{n}" for n in range(len(SETTINGS)))
        ),
    )
    return {"PYTHONPATH": str(path), "OS_MONITORING__ENABLED": "false"}


@pytest.fixture(scope="module")
def plugins(env: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the rows of ``plugin list`` by the plugin's name."""
    done = poolmgr("plugin", "list", "-f", "json", **env)
    assert "Traceback" not in done.stderr
    return {row["Name"]: row for row in json.loads(done.stdout)}


@pytest.mark.parametrize("name", ERRORS)
def test_an_unloadable_plugin_is_listed_with_its_error(
    plugins: dict[str, dict[str, Any]], name: str
) -> None:
    assert plugins[name]["State"] == "broken"
    assert ERRORS[name] in plugins[name]["Error"]
    assert name in plugins[name]["Error"]


def test_other_plugins_are_listed_as_ok(
    plugins: dict[str, dict[str, Any]],
) -> None:
    assert plugins["BUILD_IP"]["State"] == "ok"


def test_help_lists_unloadable_and_other_actions(env: dict[str, str]) -> None:
    done = poolmgr("--help", **env)

    assert (done.returncode, done.stderr) == (0, "")
    assert "\n  module0 " in done.stdout
    assert "\n  build-device " in done.stdout


def test_the_completion_script_has_no_output_of_plugins(
    env: dict[str, str],
) -> None:
    done = poolmgr("complete", **env)

    assert done.returncode == 0
    assert "build-device" in done.stdout
    assert "printed" not in done.stdout


def test_other_commands_run_without_a_message(env: dict[str, str]) -> None:
    done = poolmgr("--driver", "fake", "build-ip", **env)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_of_an_unloadable_action_reports_the_error(
    env: dict[str, str],
) -> None:
    done = poolmgr("--driver", "fake", "module0", **env)

    assert done.returncode == 1
    assert done.stderr == (
        "poolmgr: action 'MODULE0' cannot be loaded: GeneratorExit\n"
    )


def test_a_worker_runs_jobs_despite_unloadable_plugins(
    env: dict[str, str],
) -> None:
    with (
        builtin() as server,
        worker([str(server.address)], PYTHONPATH=env["PYTHONPATH"]) as process,
    ):
        process.wait_for("connected and registered")
        start = "".join(process.lines)
        for _twice in range(2):
            ask(server.address, {"action": "MODULE1"})
        answer = ask(server.address, {"action": "BUILD_IP"})

    assert answer["response"] == "PASS"
    assert start.count("action 'MODULE1' cannot be loaded") == 1
    assert "".join(process.lines).count("import 1") <= 2


def test_unreadable_entry_points_are_reported(tmp_path: Path) -> None:
    path = plugin_beside(tmp_path, "", poolmgr__actions="MINE stranger:A")

    done = poolmgr("--help", PYTHONPATH=str(path))

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "the entry points of a package cannot be read" in line
