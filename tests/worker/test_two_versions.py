"""Tests of workers of this and of an older version that serve one pool.

The older version is the last commit before waiting jobs shared one event loop.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolmgr.testing.openstack import LoopbackCloud
from tests.batches import BUILD, BUILD_IP, ask, batch
from tests.clouds import nova_group
from tests.environments import ROOT
from tests.jobservers import JobServerProcess, gearmand
from tests.logs import passed
from tests.polling import until
from tests.processes import Process, poolmgr
from tests.wanted import go_without

pytestmark = [pytest.mark.timeout(1200), pytest.mark.endurance]

OLD_COMMIT = "91cbe37"


#: The command prefix that runs this version.
NEW: Sequence[str] = ()


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """Return a command prefix that runs the old version instead."""
    folder = tmp_path_factory.mktemp("old")
    source = folder / "source"
    source.mkdir()
    done = subprocess.run(
        ["git", "-C", ROOT, "archive", OLD_COMMIT],
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        go_without(f"git, or its commit {OLD_COMMIT},")
    subprocess.run(["tar", "-xC", source], input=done.stdout, check=True)
    venv = folder / "venv"
    for command in (
        ["venv", "--without-pip", str(venv)],
        ["pip", "--python", str(venv / "bin" / "python"), "install"]
        + ["--quiet", "--disable-pip-version-check", str(source)],
    ):
        subprocess.run([sys.executable, "-m", *command], check=True)
    # The first three arguments are this interpreter, -m and poolmgr.
    script = 'shift 3; unset PYTHONPATH; exec "$0" "$@"'
    return ("sh", "-c", script, str(venv / "bin" / "poolmgr"))


class Pool:
    """A pool on a loopback OpenStack."""

    def __init__(
        self, cloud: LoopbackCloud, server: JobServerProcess, folder: Path
    ) -> None:
        self.cloud = cloud
        self.server = server
        self._config = folder / "poolmgr.conf"
        self._config.write_text(
            f"{nova_group('loopback')}[worker]\nlong_jobs = 10\n"
            f"[gearman]\nservers = {server.address}\n"
        )
        clouds = cloud.write_clouds_yaml(folder / "clouds.yaml")
        self._environment = {"OS_CLIENT_CONFIG_FILE": str(clouds)}

    @contextmanager
    def worker(self, version: Sequence[str]) -> Iterator[Process]:
        """Run a worker of a version, and wait until it is registered."""
        process = Process(
            ["--config-file", str(self._config), "worker"],
            version,
            **self._environment,
        )
        try:
            process.wait_for("connected and registered")
            yield process
        finally:
            process.end()

    def rows(self, *args: str) -> list[dict[str, object]]:
        """Return the rows that a command of this version lists."""
        done = poolmgr(
            *("--config-file", str(self._config), *args, "-f", "json"),
            **self._environment,
        )
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)
        assert isinstance(rows, list)
        return rows


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """Return a pool whose devices boot within a second."""
    with LoopbackCloud(boot_time=1.0) as cloud, gearmand() as server:
        yield Pool(cloud, server, tmp_path)


def test_both_versions_serve_one_queue(pool: Pool, old: Sequence[str]) -> None:
    with pool.worker(old) as old_worker, pool.worker(NEW) as new_worker:
        with batch(
            pool.server.address, [BUILD] * 30 + [BUILD_IP] * 10
        ) as jobs:
            answers = jobs.passes()
        uniques = {*jobs.uniques}
        until(lambda: passed(old_worker) | passed(new_worker) == uniques)
        assert passed(old_worker)
        assert passed(new_worker)

    names = [answer["name"] for answer in answers if "name" in answer]
    assert len(set(names)) == 30
    assert sorted(each["name"] for each in pool.cloud.servers) == sorted(names)
    assert len(pool.cloud.floating_ips) == 10


@pytest.mark.parametrize("old_is_killed", [True, False])
def test_builds_of_a_killed_worker_are_taken_over_across_versions(
    pool: Pool, old: Sequence[str], old_is_killed: bool
) -> None:
    first, second = (old, NEW) if old_is_killed else (NEW, old)
    with (
        pool.worker(first) as killed,
        batch(pool.server.address, [BUILD] * 5) as builds,
    ):
        until(lambda: len(pool.cloud.servers) == 5)
        with pool.worker(second):
            killed.signal(signal.SIGKILL)
            answers = builds.passes()

    names = sorted(answer["name"] for answer in answers)
    assert sorted(each["name"] for each in pool.cloud.servers) == names


@pytest.mark.parametrize("old_builds", [True, False])
def test_resources_are_usable_across_versions(
    pool: Pool, old: Sequence[str], old_builds: bool
) -> None:
    builder, user = (old, NEW) if old_builds else (NEW, old)
    address = pool.server.address
    with pool.worker(builder):
        device, ip = ask(address, BUILD), ask(address, BUILD_IP)
    # This version's reaper understands the marks of both.
    assert pool.rows("reap", "--dry-run", "--older-than", "0") == []
    fields = {"ip": ip["ip"], "name": device["name"]}
    with pool.worker(user):
        for job in (
            {"action": "ASSIGN_IP", **fields},
            {"action": "REMOVE_IP", **fields},
            {"action": "DELETE_IP", "ip": ip["ip"]},
            {"action": "DELETE_DEVICE", "name": device["name"]},
        ):
            assert ask(address, job) == {**job, "response": "PASS"}

    assert not pool.cloud.servers
    assert not pool.cloud.floating_ips
