"""A worker under load: do its open files, threads and memory stay constant?

    python -m tests.soak --minutes 60 [--cloud fake|openstack]

Starts a gearmand, a worker, and with "openstack" the loopback OpenStack. Runs
life cycles of load balancers (build, assign, remove, delete), jobs that fail
in every way, and a restart of the job server each minute. Prints a line each
minute: the jobs so far and the worker's open files, threads and memory. Run
it in the project's folder.
"""

import argparse
import asyncio
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolmgr.errors import TransportError
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address
from tests.clouds import nova_group
from tests.jobservers import JobServerProcess, gearmand
from tests.processes import Process

FUNCTION = "libra_pool_mgm"
TIMEOUT = 120.0

#: Jobs that fail: at once, in the action, in the cloud, by their payload.
FAILING = (
    b'{"action": "NOPE"}',
    b"\xff",
    b'{"action": "DELETE_DEVICE", "name": "libra-absent"}',
    b'{"action": "DELETE_IP", "ip": "192.0.2.1"}',
    b'{"action": "ASSIGN_IP", "ip": 5, "name": []}',
)

#: Orphans of a restarted job server are reaped as well.
CONFIG = """\
[poolmgr]
long_timeout = 60
short_timeout = 30
[reaper]
mode = delete
interval = 10
older_than = 0
limit = 100
"""


@dataclass(frozen=True)
class Gauge:
    """The resources of a process.

    :ivar files: open file descriptors
    :ivar threads: threads
    :ivar memory: resident memory in KiB
    """

    files: int
    threads: int
    memory: int

    @classmethod
    def of(cls, pid: int) -> "Gauge":
        """Return a process's present numbers."""
        status = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        return cls(
            len(list(Path(f"/proc/{pid}/fd").iterdir())),
            int(status["Threads"]),
            int(status["VmRSS"].split()[0]),
        )

    @classmethod
    def at_rest(cls, pid: int, seconds: float = 12.0) -> "Gauge":
        """Return the minimum of each over some time: idle threads end late."""
        found = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found.append(cls.of(pid))
            time.sleep(0.25)
        return cls(
            min(each.files for each in found),
            min(each.threads for each in found),
            min(each.memory for each in found),
        )


class Load:
    """Jobs for a worker.

    :param server: the job server
    :param lives: number of concurrent load balancers
    """

    def __init__(self, server: Address, lives: int = 10) -> None:
        self._server = server
        self._lives = lives
        self.jobs = 0
        self.lost = 0

    def run(self, rounds: int, *more: bytes) -> None:
        """Run a number of rounds of life cycles and failures.

        :param more: payloads of additional jobs in each round
        """
        asyncio.run(self._run(rounds, more))

    async def _run(self, rounds: int, more: tuple[bytes, ...]) -> None:
        async with Client([self._server]) as client:
            for _round in range(rounds):
                lives = [self._live(client) for _ in range(self._lives)]
                others = [self._ask(client, x) for x in FAILING + more]
                await asyncio.gather(*lives, *others)

    async def _live(self, client: Client) -> None:
        device, ip = await asyncio.gather(
            self._act(client, "BUILD_DEVICE"), self._act(client, "BUILD_IP")
        )
        both = {"name": device["name"], "ip": ip["ip"]}
        await self._act(client, "ASSIGN_IP", **both)
        await self._act(client, "REMOVE_IP", **both)
        await asyncio.gather(
            self._act(client, "DELETE_IP", ip=ip["ip"]),
            self._act(client, "DELETE_DEVICE", name=device["name"]),
        )

    async def _act(
        self, client: Client, action: str, **fields: object
    ) -> dict[str, Any]:
        message = json.dumps({"action": action, **fields}).encode()
        answer = await self._ask(client, message)
        assert answer["response"] == "PASS", answer
        return answer

    async def _ask(self, client: Client, payload: bytes) -> dict[str, Any]:
        job = await client.submit(FUNCTION, payload)
        answer = json.loads(await job.result(TIMEOUT))
        self.jobs += 1
        assert isinstance(answer, dict)
        return answer

    def lose(self, server: JobServerProcess) -> None:
        """Restart the job server while jobs run."""

        async def scenario() -> None:
            async with Client([self._server]) as client:
                for _job in range(self._lives):
                    await client.submit(FUNCTION, b'{"action": "BUILD_IP"}')
                server.kill()

        with suppress(TransportError):
            asyncio.run(scenario())
        self.lost += self._lives
        server.start()


@contextmanager
def loopback() -> Iterator[tuple[str, str]]:
    """Run an OpenStack process; yield its URL and a clouds.yaml's path."""
    command = [sys.executable, "-m", "poolmgr.testing.openstack"]
    process = subprocess.Popen(
        [*command, "--floating-ips", "100000"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield (
            process.stdout.readline().strip(),
            process.stdout.readline().strip(),
        )
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def soaking(
    cloud: str, folder: Path, **environment: str
) -> Iterator[tuple[JobServerProcess, Process, str | None]]:
    """Yield a job server, a worker, and its OpenStack's URL if there is one.

    :param cloud: "fake" or "openstack"
    :param environment: the worker's variables
    """
    config, options, url = CONFIG, ["--quiet"], None
    with ExitStack() as stack:
        if cloud == "fake":
            options += ["--driver", "fake"]
        else:
            url, clouds = stack.enter_context(loopback())
            config += nova_group("loopback")
            environment["OS_CLIENT_CONFIG_FILE"] = clouds
        path = folder / "soak.conf"
        path.write_text(config)
        server = stack.enter_context(gearmand())
        options += ["--config-file", str(path)]
        options += ["--gearman-server", str(server.address), "worker"]
        process = Process(options, **environment)
        stack.callback(process.end)
        yield server, process, url


def forget(url: str) -> None:
    """Clear the growing record of an OpenStack."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    connection.request("DELETE", "/record")
    assert connection.getresponse().status < 300
    connection.close()


def main() -> None:
    """Run the load and print the lines."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument(
        "--cloud", choices=("fake", "openstack"), default="fake"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        with soaking(options.cloud, Path(folder)) as (server, process, url):
            load = Load(server.address)
            print("minute     jobs  files  threads  memory/KiB", flush=True)
            began = time.monotonic()
            minute = 0
            while minute < options.minutes:
                minute += 1
                while time.monotonic() - began < 60 * minute - 15:
                    load.run(1)
                load.lose(server)
                if url is not None:
                    forget(url)
                now = Gauge.at_rest(process.pid)
                print(
                    f"{minute:6} {load.jobs:8} {now.files:6} "
                    f"{now.threads:8} {now.memory:11}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
