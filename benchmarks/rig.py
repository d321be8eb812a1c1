"""gearmand, loopback clouds, workers and clients for the benchmarks."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from poolmgr.errors import TransportError
from poolmgr.gearman import admin
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address

FUNCTION = "libra_pool_mgm"
PEERS = Path(__file__).parent / "peers"
Json = dict[str, Any]
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Tree:
    """A source tree of poolmgr with its virtual environment in ``.venv``.

    :ivar name: its name in the tables
    """

    name: str
    folder: Path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / ".venv" / "bin" / "python")


@contextlib.contextmanager
def process(
    *command: str, env: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process while the block runs."""
    running = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


class Gearmand:
    """A gearmand that can be killed and restarted."""

    def __init__(self) -> None:
        path = shutil.which("gearmand", path=f"{os.environ['PATH']}:/usr/sbin")
        if path is None:
            sys.exit(
                "gearmand is not installed: apt-get install gearman-job-server"
            )
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.address = Address("127.0.0.1", int(sock.getsockname()[1]))
        self._command = [
            *(path, "--listen=127.0.0.1", f"--port={self.address.port}"),
            "--log-file=none",
        ]
        self._stack = ExitStack()

    async def __aenter__(self) -> "Gearmand":
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.kill()

    async def start(self) -> None:
        """Start it and wait until it listens."""
        self._stack.enter_context(process(*self._command))
        while True:
            with contextlib.suppress(TransportError):
                await admin.status(self.address)
                return
            await asyncio.sleep(0.005)

    def kill(self) -> None:
        """Kill it."""
        self._stack.close()

    async def has_worker(self, function: str) -> None:
        """Wait until a worker has registered a function."""
        async with asyncio.timeout(60.0):
            while True:
                status = {s.name: s for s in await admin.status(self.address)}
                if function in status and status[function].workers:
                    return
                await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Cloud:
    """A loopback cloud in its own process."""

    url: str
    clouds_yaml: str

    def counts(self) -> Counter[str]:
        """Return the number of calls, by "compute POST 202" and so on."""
        found = requests.get(f"{self.url}/record/counts", timeout=120)
        return Counter(found.json())

    def fault(self, **rule: Any) -> None:
        """Add a fault."""
        requests.post(
            f"{self.url}/faults", json=rule, timeout=30
        ).raise_for_status()

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables for poolmgr to use it."""
        return {
            "OS_CLIENT_CONFIG_FILE": self.clouds_yaml,
            "OS_NOVA__CLOUD": "loopback",
            "OS_NOVA__IMAGE": "tiny",
            "OS_NOVA__FLAVOR": "m1.nano",
            "OS_NOVA__NETWORKS": "private",
            "OS_NOVA__FLOATING_NETWORK": "public",
        }


@contextlib.contextmanager
def cloud(**options: object) -> Iterator[Cloud]:
    """Run a loopback cloud while the block runs.

    :param options: options of ``python -m poolmgr.testing.openstack``
    """
    command = [sys.executable, "-m", "poolmgr.testing.openstack"]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        try:
            url = running.stdout.readline().strip()
            yield Cloud(url, running.stdout.readline().strip())
        finally:
            running.terminate()


@contextlib.contextmanager
def worker(
    tree: Tree, server: Gearmand, environment: Mapping[str, str]
) -> Iterator[int]:
    """Run a worker while the block runs; yield its process id."""
    with process(
        *(tree.python, "-P", "-m", "poolmgr", "--quiet"),
        *("--gearman-server", str(server.address), "worker"),
        env={
            **os.environ,
            "OS_MONITORING__ENABLED": "false",
            "OS_REAPER__MODE": "off",
            **environment,
        },
    ) as running:
        yield running.pid


async def passed(client: Client, action: str, **fields: str) -> Json:
    """Submit a job and return its answer, which must be a PASS."""
    payload = json.dumps({"action": action, **fields}).encode()
    job = await client.submit(FUNCTION, payload)
    answer: Json = json.loads(await job.result(900.0))
    assert answer["response"] == "PASS", answer
    return answer


def compiled(name: str, *libraries: str) -> str | None:
    """Compile a C program; return its path, or None if that is impossible."""
    path = str(_FOLDER / name)
    built = subprocess.run(
        ["cc", "-O2", str(PEERS / f"{name}.c"), *libraries, "-o", path],
        capture_output=True,
        check=False,
    )
    return None if built.returncode else path


_TEMPORARY = tempfile.TemporaryDirectory()
_FOLDER = Path(_TEMPORARY.name)


async def rate(
    server: Gearmand, function: str, payload: str, jobs: int
) -> float:
    """Return the answers a second to 50 clients in C."""
    clients = compiled("clients")
    assert clients is not None, "no compiler: apt-get install gcc libc6-dev"
    running = await asyncio.create_subprocess_exec(
        *(clients, str(server.address.port), function),
        *(payload, str(jobs), "50"),
        stdout=subprocess.PIPE,
    )
    said, _nothing = await running.communicate()
    return float(said)


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) / 1024
    raise LookupError(pid)


def threads(pid: int) -> int:
    """Return the number of threads of a process."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
