"""Tests of ``poolmgr demo``."""

import json
import shlex
import signal
import subprocess
import sys

import pytest

from poolmgr.cli.demo import REQUESTS
from tests.processes import TIMEOUT, Process, poolmgr


def test_the_demo_prints_requests_and_answers() -> None:
    done = poolmgr("demo")

    assert done.returncode == 0
    for request in REQUESTS:
        assert f"request\n{request}\nanswer\n" in done.stdout
    assert done.stdout.count('"response": "PASS"') == len(REQUESTS)


def test_the_demo_with_stay_runs_until_interrupted() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "poolmgr", "--quiet", "demo", "--stay"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            line = next(x for x in process.stdout if " submit " in x)
            done = poolmgr(*shlex.split(line)[1:])
            assert json.loads(done.stdout)["response"] == "PASS"
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
)
def test_a_signal_ends_the_demo(number: signal.Signals) -> None:
    process = Process(["--verbose", "demo"])
    try:
        process.wait_for("registered")
        process.signal(number)

        assert process.exit_code() in (0, 128 + number)
    finally:
        process.end()

    assert not any("Traceback" in line for line in process.lines)
