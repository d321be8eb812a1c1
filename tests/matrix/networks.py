"""Two hosts and the cable between them, in network namespaces."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from tests.wanted import program

#: The addresses of both ends; they are not visible from outside.
SERVER = "10.213.0.1"
WORKER = "10.213.0.2"
UNKNOWN_MAC = "02:00:00:00:00:01"
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Host:
    """A network namespace.

    :ivar pid: of the process that holds it
    """

    pid: int

    def through(self) -> list[str]:
        """Return a command prefix that runs a command in the namespace."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve"]
        return ["nsenter", f"--target={self.pid}", *user, "--net", "--"]

    def run(self, *command: str) -> None:
        """Run a command in the namespace."""
        subprocess.run(
            [*self.through(), *command],
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT,
        )


@dataclass(frozen=True)
class Cable:
    """The cable between the two hosts.

    :ivar server: the host of the job server
    :ivar worker: the host of the worker
    """

    server: Host
    worker: Host

    def unplug(self) -> None:
        """Cut the cable; neither end is notified."""
        self.server.run("ip", "link", "set", "cable", "down")

    def swallow(self) -> None:
        """Send all packets to a machine that does not exist."""
        self._neighbours("replace", "lladdr", UNKNOWN_MAC, "nud", "permanent")

    def mend(self) -> None:
        """Restore the connection."""
        self.server.run("ip", "link", "set", "cable", "up")
        self._neighbours("replace", "lladdr", UNKNOWN_MAC, "nud", "stale")
        self._neighbours("del")

    def _neighbours(self, verb: str, *how: str) -> None:
        for host, other in ((self.server, WORKER), (self.worker, SERVER)):
            host.run("ip", "neigh", verb, other, "dev", "cable", *how)


@contextmanager
def cable() -> Iterator[Cable]:
    """Yield two hosts; skip the test where the kernel refuses, also in CI.

    In CI, missing tools are a failure.
    """
    _need_namespaces()
    with ExitStack() as stack:
        server = Host(stack.enter_context(_hold_namespace(_unshare())))
        worker = Host(
            stack.enter_context(
                _hold_namespace([*server.through(), "unshare", "--net"])
            )
        )
        _connect(server, worker)
        yield Cable(server, worker)


def _connect(server: Host, worker: Host) -> None:
    server.run(
        *("ip", "link", "add", "cable", "type", "veth"),
        *("peer", "name", "cable", "netns", str(worker.pid)),
    )
    for host, address in ((server, SERVER), (worker, WORKER)):
        host.run("ip", "link", "set", "lo", "up")
        host.run("ip", "address", "add", f"{address}/24", "dev", "cable")
        host.run("ip", "link", "set", "cable", "up")


def _unshare() -> list[str]:
    if os.geteuid() == 0:
        return ["unshare", "--net"]
    return ["unshare", "--user", "--map-root-user", "--net"]


@contextmanager
def _hold_namespace(command: Sequence[str]) -> Iterator[int]:
    """Hold a namespace while the block runs; yield its process."""
    process = subprocess.Popen(
        [*command, "sh", "-c", "echo; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        # The shell prints when it is in the namespace.
        assert process.stdout.read(1), "no namespace"
        yield process.pid
    finally:
        process.kill()
        process.communicate(timeout=_TIMEOUT)


def _need_namespaces() -> None:
    for tool in ("unshare", "nsenter", "ip"):
        program(tool)
    attempt = subprocess.run(
        [*_unshare(), "ip", "link", "add", "cable", "type", "veth"],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if attempt.returncode:
        pytest.skip(f"no network namespaces: {attempt.stderr.strip()}")
