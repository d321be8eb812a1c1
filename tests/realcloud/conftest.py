"""Fixtures for the real OpenStack that ``./dev cloud up`` starts.

All tests in this folder are marked ``realcloud``. Without a running cloud they
are skipped. In CI (``CI`` is set), or with ``TESTCLOUD=1``, a cloud is started
for them, and it is a failure if that is impossible.
"""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openstack.config import OpenStackConfig
from openstack.connection import Connection

import testcloud
from tests.realcloud.pools import TIMEOUT, Pool

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
STARTED_CLOUD = pytest.StashKey[bool]()
START_ERROR = pytest.StashKey[str]()


class RealCloud:
    """The cloud and the names of its initial resources."""

    image = "tiny"
    flavor = "m1.nano"
    small_flavor = "m1.small"
    absurd_flavor = "m1.absurd"
    network = "private"
    external_network = "public"
    security_group = "pool"
    key = "poolkey"
    server_group = "apart"
    clouds = ("testcloud", "testcloud-small")

    def __init__(self, location: testcloud.Location) -> None:
        self.clouds_file = location.clouds_file
        self.knobs = testcloud.Knobs(location.knobs_file)
        self._connections: dict[str, Connection] = {}

    def set_knob(self, name: str, value: object) -> None:
        """Set a knob of the cloud; it is reset after the test."""
        self.knobs.set(name, value)

    def connect(self, cloud: str = "testcloud") -> Connection:
        """Return a connection to a cloud, shared by all tests."""
        if cloud not in self._connections:
            config = OpenStackConfig(
                config_files=[str(self.clouds_file)], load_envvars=False
            )
            self._connections[cloud] = Connection(config=config.get_one(cloud))
        return self._connections[cloud]

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()


# The marker must exist before -m selects tests.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("realcloud")


def pytest_collection_finish(session: pytest.Session) -> None:
    # The cloud is started here, outside the time limit of any test.
    mine = [item for item in session.items if item.path.is_relative_to(HERE)]
    if session.config.option.collectonly or not mine or testcloud.running():
        return
    if os.environ.get("CI") or os.environ.get("TESTCLOUD") == "1":
        session.stash[STARTED_CLOUD] = True
        session.stash[START_ERROR] = _testcloud("up")
    else:
        reason = "no cloud is running; bring it up with: ./dev cloud up"
        for item in mine:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.stash.get(STARTED_CLOUD, False):
        _testcloud("down")


@pytest.fixture(scope="session")
def real_cloud(request: pytest.FixtureRequest) -> Iterator[RealCloud]:
    """Yield the running cloud."""
    if error := request.session.stash.get(START_ERROR, ""):
        pytest.fail(error)
    cloud = RealCloud(testcloud.Location.from_environment())
    yield cloud
    cloud.close()


@pytest.fixture(autouse=True)
def _reset_knobs(real_cloud: RealCloud) -> Iterator[None]:
    real_cloud.knobs.reset()
    yield
    real_cloud.knobs.reset()


@pytest.fixture
def swept(real_cloud: RealCloud) -> Iterator[str]:
    """Yield a name prefix for a test's servers.

    After the test, servers of the projects demo and small with this prefix are
    deleted, with their floating IPs and those that have the prefix in their
    description or tags.
    """
    prefix = f"test-{uuid.uuid4().hex[:8]}-"
    yield prefix
    real_cloud.knobs.reset()
    for cloud in real_cloud.clouds:
        _sweep(real_cloud.connect(cloud), prefix)


def _sweep(cloud: Connection, prefix: str) -> None:
    mine = {"project_id": cloud.current_project_id}
    servers = {server.id for server in _servers(cloud, prefix)}
    ports = {
        port.id
        for port in cloud.network.ports(**mine)
        if port.device_id in servers
    }
    for address in cloud.network.ips(**mine):
        words = [address.description or "", *address.tags]
        if address.port_id in ports or _begins(words, prefix):
            cloud.network.delete_ip(address)
    for server in servers:
        cloud.compute.delete_server(server)
    end = time.monotonic() + TIMEOUT
    while _servers(cloud, prefix):
        assert time.monotonic() < end, "servers are not deleted"
        time.sleep(0.2)


def _begins(words: list[str], prefix: str) -> bool:
    return any(word.startswith(prefix) for word in words)


def _servers(cloud: Connection, prefix: str) -> list[Any]:
    return [
        server
        for server in cloud.compute.servers()
        if server.name.startswith(prefix)
    ]


def _testcloud(verb: str) -> str:
    """Run ``python -m testcloud`` and return its output if it failed."""
    done = subprocess.run(
        [sys.executable, "-m", "testcloud", verb],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    output = f"testcloud {verb} failed:\n{done.stdout}{done.stderr}"
    return output if done.returncode else ""


@pytest.fixture
def pool(
    real_cloud: RealCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pool]:
    """Yield a new pool; its resources are deleted after the test."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(real_cloud.clouds_file))
    pool = Pool(f"t{uuid.uuid4().hex[:8]}", tmp_path)
    yield pool
    real_cloud.knobs.reset()
    for cloud in real_cloud.clouds:
        pool.sweep(cloud)
