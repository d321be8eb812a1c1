"""Workers with monitoring pages."""

import http.client
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from poolmgr.testing.openstack import LoopbackCloud
from tests.clouds import nova_group
from tests.processes import Process

TIMEOUT = 60.0


@dataclass(frozen=True)
class Answer:
    """The answer to an HTTP request."""

    status: int
    body: str
    headers: dict[str, str]


@dataclass(frozen=True)
class WatchedWorker:
    """A worker and the port of its pages."""

    process: Process
    port: int

    @property
    def url(self) -> str:
        """Return the URL of the status page."""
        return f"http://127.0.0.1:{self.port}/"

    def get(
        self, path: str = "/", method: str = "GET", **headers: str
    ) -> Answer:
        """Request a page."""
        return get(self.port, path, method, **headers)


def get(
    port: int, path: str = "/", method: str = "GET", **headers: str
) -> Answer:
    """Request a page at a port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, TIMEOUT)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        return Answer(answer.status, body, dict(answer.getheaders()))
    finally:
        connection.close()


@contextmanager
def watched(
    servers: Sequence[object],
    folder: Path,
    config: str = "",
    cloud: LoopbackCloud | None = None,
    registered: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Iterator[WatchedWorker]:
    """Run a worker with pages on a free port.

    :param config: text to add to the configuration file
    :param cloud: a loopback cloud; without it, the fake cloud is used
    :param registered: wait until the worker is registered with a server
    """
    variables = {"OS_MONITORING__ENABLED": "true", **(environment or {})}
    path = folder / "watched.conf"
    text = f"[monitoring]\nport = 0\n{config}\n"
    args = ["--config-file", str(path)]
    if cloud is None:
        args += ["--driver", "fake"]
    else:
        clouds = cloud.write_clouds_yaml(folder / "clouds.yaml")
        variables["OS_CLIENT_CONFIG_FILE"] = str(clouds)
        text += nova_group("loopback", floating_network="public")
    path.write_text(text)
    for server in servers:
        args += ["--gearman-server", str(server)]
    process = Process([*args, "worker"], **variables)
    try:
        line = process.wait_for("status page and metrics on http://")
        if registered:
            process.wait_for("connected and registered")
        yield WatchedWorker(
            process, int(line.rstrip("/\n").rpartition(":")[2])
        )
    finally:
        process.end()
