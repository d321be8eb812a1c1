"""Tests of faulty plugins, in a worker and on the command line."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.asking import asked
from tests.environments import plugin_beside
from tests.jobservers import builtin
from tests.processes import poolmgr, worker

ACTION = """
import datetime, sys, threading, time
from poolmgr.actions.base import Action, NoFields

class Base(Action[NoFields]):
    '''Made for a test.'''
    takes = NoFields
"""


@contextmanager
def run_worker(folder: Path, source: str, *actions: str) -> Iterator[tuple]:  # type: ignore[type-arg]
    """Run a worker with these actions and two slots for short jobs.

    :param source: the source of the actions
    :returns: the address of its job server, and the worker
    """
    points = "\n".join(f"{name.upper()} = stranger:{name}" for name in actions)
    path = plugin_beside(folder, ACTION + source, poolmgr__actions=points)
    with (
        builtin() as server,
        worker(
            [str(server.address)],
            PYTHONPATH=str(path),
            OS_WORKER__SHORT_JOBS="2",
        ) as process,
    ):
        process.wait_for("connected and registered")
        yield server.address, process


def test_answers_that_change_while_encoded_do_not_block_the_worker(
    tmp_path: Path,
) -> None:
    source = """
class Live(dict):
    '''Is JSON only when it is read for the first time.'''
    def items(self):
        yield "cache", "first"
        self["cache"] = object()

class Changing(Base):
    answers = ("cache",)
    def run(self, request, context):
        answer = {"cache": Live(cache=1)}
        threading.Thread(target=change, args=[answer], daemon=True).start()
        return answer

def change(answer):
    for _ in range(1000):
        answer["cache"] = datetime.datetime.now()
        answer["cache"] = [1]
        answer[time.monotonic()] = answer
"""
    with run_worker(tmp_path, source, "Changing") as (server, _process):
        changing = [{"action": "CHANGING"}] * 20
        answers = asked(server, *changing, {"action": "BUILD_IP"})()

    assert len(answers) == 21
    assert {answer["response"] for answer in answers} <= {"PASS", "FAIL"}
    assert answers[-1]["response"] == "PASS"


def test_a_failed_internal_callback_ends_the_worker_and_is_logged(
    tmp_path: Path,
) -> None:
    source = """
import asyncio, gc

class Break(Base):
    def run(self, request, context):
        gc.unfreeze()  # the worker freezes its objects once it has started
        for found in gc.get_objects():
            if isinstance(found, asyncio.BaseEventLoop) and found.is_running():
                found.call_soon_threadsafe(lambda: 1 / 0)
        time.sleep(60)
        return {}
"""
    with run_worker(tmp_path, source, "Break") as (server, process):
        asked(server, {"action": "BREAK"})

        assert process.exit_code() == 1

    assert "an internal callback failed" in "".join(process.lines)


def test_a_failed_thread_of_a_plugin_does_not_affect_jobs(
    tmp_path: Path,
) -> None:
    source = """
class Break(Base):
    def run(self, request, context):
        for work in (lambda: 1 / 0, sys.exit):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        return {}
"""
    with run_worker(tmp_path, source, "Break") as (server, _process):
        answers = asked(server, {"action": "BREAK"}, {"action": "BUILD_IP"})()

    assert [answer["response"] for answer in answers] == ["PASS", "PASS"]


# -- plugins that cannot be loaded ------------------------------------------

#: Modules that cannot be imported, and the words of their errors.
BROKEN = {
    "raise GeneratorExit": "GeneratorExit",
    "raise StopIteration('done')": "StopIteration: done",
    "import asyncio; raise asyncio.CancelledError": "CancelledError",
    "import sys; sys.exit(0)": "SystemExit: 0",
    "import pytest; pytest.skip(allow_module_level=True)": "Skipped",
    "def (:": "SyntaxError",
    "class E(BaseException):\n    def __str__(self): raise SystemExit\n"
    "raise E": "E",
}
#: Invalid class attributes, and the words of their errors.
WRONG = {
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
    "strangr:Wrong0": "No module named 'strangr'",
    "stranger": "is not a subclass of poolmgr.actions.base.Action",
    "stranger:": "AttributeError",
    "my-stranger:A": "AttributeError",
    ".stranger:A": "TypeError",
    "": "AttributeError",
}


def test_unloadable_plugins_are_listed_and_do_not_affect_others(
    tmp_path: Path,
) -> None:
    source = ACTION + (
        "from dataclasses import dataclass\n"
        "print('printed by a plugin')\n"
        "from poolmgr.drivers.fake import FakeCloud\n"
        "from poolmgr.settings import setting\n"
        "def settings(kind, **rule):\n"
        "    x = setting(1, **rule) if rule else 1\n"
        "    made = dict(x=x, __annotations__=dict(x=kind))\n"
        "    return dataclass(type('Settings', (), made))\n"
        "class Raising:\n"
        "    def __get__(self, object, owner): raise LookupError('no')\n"
    )
    points, modules = [], {}
    expected: dict[str, str] = {}
    for number, (line, words) in enumerate(WRONG.items()):
        source += f"class Wrong{number}(Base):\n    {line}\n"
        source += "    def run(self, request, context): return {}\n"
        points.append(f"WRONG{number} = stranger:Wrong{number}")
        expected[f"WRONG{number}"] = words
    drivers = []
    for number, (line, words) in enumerate(SETTINGS.items()):
        source += f"class Driver{number}(FakeCloud):\n    {line}\n"
        drivers.append(f"DRIVER{number} = stranger:Driver{number}")
        expected[f"DRIVER{number}"] = words
    for number, (text, words) in enumerate(BROKEN.items()):
        modules[f"broken{number}"] = text
        points.append(f"BROKEN{number} = broken{number}:A")
        expected[f"BROKEN{number}"] = words
    for number, (target, words) in enumerate(TARGETS.items()):
        points.append(f"TARGET{number} = {target}")
        expected[f"TARGET{number}"] = words
    points.append(" = stranger:Nameless")
    path = plugin_beside(
        tmp_path,
        source,
        modules,
        poolmgr__actions="\n".join(points),
        poolmgr__drivers="\n".join(drivers),
    )
    env = {"PYTHONPATH": str(path), "OS_MONITORING__ENABLED": "false"}

    listed = poolmgr("plugin", "list", "-f", "json", **env)
    found = {r["Name"]: r for r in json.loads(listed.stdout)}
    for name, words in expected.items():
        row = found[name]
        assert row["State"] == "broken"
        assert words in row["Error"]
        assert row["Name"] in row["Error"]
    assert found["BUILD_IP"]["State"] == "ok"
    assert "Traceback" not in listed.stderr
    helped = poolmgr("--help", **env)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "\n  broken0 " in helped.stdout
    assert "\n  build-device " in helped.stdout
    completed = poolmgr("complete", **env)
    assert completed.returncode == 0
    assert "build-device" in completed.stdout
    assert "printed" not in completed.stdout
    built = poolmgr("--driver", "fake", "build-ip", **env)
    assert (built.returncode, built.stderr) == (0, "")
    refused = poolmgr("--driver", "fake", "broken0", **env)
    assert refused.returncode == 1
    assert refused.stderr == (
        "poolmgr: action 'BROKEN0' cannot be loaded: GeneratorExit\n"
    )
    with (
        builtin() as server,
        worker([str(server.address)], PYTHONPATH=str(path)) as process,
    ):
        process.wait_for("connected and registered")
        (answer,) = asked(server.address, {"action": "BUILD_IP"})()
    assert answer["response"] == "PASS"


def test_unreadable_entry_points_are_reported(tmp_path: Path) -> None:
    path = plugin_beside(tmp_path, "", poolmgr__actions="MINE stranger:A")

    done = poolmgr("--help", PYTHONPATH=str(path))

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "the entry points of a package cannot be read" in line


def test_a_field_whose_text_cannot_be_parsed_is_reported(
    tmp_path: Path,
) -> None:
    source = (
        ACTION
        + """
from dataclasses import dataclass, field
from poolmgr.actions.base import field_of

@dataclass(frozen=True)
class Takes:
    weight: int = field(metadata=field_of(lambda v: v, "weight", int))
    colour: str = field(
        metadata=field_of(lambda v: v, "colour", {"red": 1}.__getitem__)
    )

class Paint(Base):
    takes = Takes
    def run(self, request, context): return {}
"""
    )
    path = plugin_beside(
        tmp_path, source, poolmgr__actions="PAINT = stranger:Paint"
    )

    def paint(weight: str, colour: str) -> tuple[int, str]:
        done = poolmgr(
            *("--driver", "fake", "paint", weight, colour),
            PYTHONPATH=str(path),
        )
        return done.returncode, done.stderr

    assert paint("5", "red") == (0, "")
    code, output = paint("heavy", "red")
    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith("poolmgr: 'weight' invalid literal for int()")
    code, output = paint("5", "green")
    assert (code, output.count("\n")) == (1, 1)
    assert "action Paint" in output
    assert "'colour'" in output


def test_a_command_does_not_wait_for_an_action_that_ignores_its_cancel(
    tmp_path: Path,
) -> None:
    source = """
import asyncio

class Stick(Base):
    async def run(self, request, context):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass
"""
    points = "STICK = stranger:Stick"
    path = plugin_beside(tmp_path, ACTION + source, poolmgr__actions=points)

    done = poolmgr(
        *("--driver", "fake", "stick"),
        PYTHONPATH=str(path),
        OS_POOLMGR__SHORT_TIMEOUT="0.5",
    )

    assert done.returncode == 1
    assert done.stderr.startswith("poolmgr: ")
    assert done.stderr.count("\n") == 1
