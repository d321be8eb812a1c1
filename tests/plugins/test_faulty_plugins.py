"""Tests of faulty plugins, in a worker and on the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.batches import submit
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
        answers = submit(server, *changing, {"action": "BUILD_IP"})()

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
        submit(server, {"action": "BREAK"})

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
        answers = submit(server, {"action": "BREAK"}, {"action": "BUILD_IP"})()

    assert [answer["response"] for answer in answers] == ["PASS", "PASS"]


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
