"""Tests with the client libraries of Libra: gear and python-gearman."""

import json
import os
import queue
import shutil
import subprocess
from pathlib import Path
from typing import Any

import gear
import pytest

from tests.batches import FUNCTION
from tests.jobservers import JobServerProcess
from tests.processes import worker

#: Submits a batch with python-gearman 2.0.2 as Libra's Admin API does.
PYTHON_2_CLIENT = """
import json, sys, uuid
import gearman

address, count = sys.argv[1], int(sys.argv[2])

class JSONDataEncoder(gearman.DataEncoder):
    @classmethod
    def encode(cls, encodable_object):
        return json.dumps(encodable_object)
    @classmethod
    def decode(cls, decodable_string):
        return json.loads(decodable_string)

class JSONGearmanClient(gearman.GearmanClient):
    data_encoder = JSONDataEncoder

client = JSONGearmanClient([address])
batch = [
    dict(task='libra_pool_mgm', data={'action': 'BUILD_DEVICE', 'n': n},
         unique=str(uuid.uuid4()))
    for n in range(count)
]
batch.append(dict(task='libra_pool_mgm', unique=str(uuid.uuid4()),
                  data={'action': 'DELETE_DEVICE', 'name': 'libra-none'}))
ended = client.submit_multiple_jobs(
    batch, background=False, wait_until_complete=True, max_retries=10,
    poll_timeout=60.0)
print(json.dumps([
    [r.state, r.timed_out, r.result] for r in ended
]))
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning:gear")
def test_jobs_of_the_gear_library_are_answered(
    job_server: JobServerProcess,
) -> None:
    answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    class RecordingClient(gear.Client):  # type: ignore[misc]
        def handleWorkComplete(self, packet: object) -> object:  # noqa: N802
            job = super().handleWorkComplete(packet)
            answers.put(json.loads("".join(job.data)))
            return job

    client = RecordingClient("test")
    client.addServer(job_server.address.host, job_server.address.port)
    client.waitForServer()
    try:
        with worker([str(job_server.address)]) as process:
            for n in range(10):
                message = {"action": "BUILD_IP", "n": n}
                client.submitJob(
                    gear.TextJob(FUNCTION, json.dumps(message).encode())
                )
            for _each in range(10):
                process.wait_for("outcome=PASS")
            found = [answers.get(timeout=60.0) for _each in range(10)]
    finally:
        client.shutdown()

    assert sorted(a["n"] for a in found) == list(range(10))
    assert {a["response"] for a in found} == {"PASS"}


def find_python_2() -> str | None:
    """Return a working Python 2.7, if there is one."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    candidates = [shutil.which("python2.7"), shutil.which("python2")]
    candidates += map(str, pyenv.glob("versions/2.7*/bin/python"))
    for candidate in filter(None, candidates):
        version = subprocess.run(
            [candidate, "-c", "import sys; print(sys.version_info[0])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if version.stdout.strip() == "2":
            return candidate
    return None


@pytest.fixture(scope="session")
def python_gearman(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    """Return a Python 2.7 and a folder with python-gearman 2.0.2."""
    python = find_python_2()
    if python is None:
        pytest.skip("Python 2.7 is not installed")
    folder = tmp_path_factory.mktemp("python-gearman")
    # Only Python 2's pip can build it.
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps"]
        + ["--target", str(folder), "gearman==2.0.2"],
        capture_output=True,
        check=True,
    )
    return python, folder


def test_batches_of_python_gearman_are_answered(
    job_server: JobServerProcess, python_gearman: tuple[str, Path]
) -> None:
    python, folder = python_gearman
    with worker([str(job_server.address)]):
        done = subprocess.run(
            [python, "-c", PYTHON_2_CLIENT, str(job_server.address), "20"],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "PYTHONPATH": str(folder)},
            check=False,
        )

    assert done.returncode == 0, done.stderr
    *built, deleted = json.loads(done.stdout)
    for n, (state, timed_out, answer) in enumerate(built):
        assert (state, timed_out) == ("COMPLETE", False)
        assert (answer["response"], answer["n"]) == ("PASS", n)
        assert {"name", "addr", "type", "az"} <= answer.keys()
    assert deleted[2] == {
        "action": "DELETE_DEVICE",
        "name": "libra-none",
        "response": "FAIL",
    }
