"""Job servers as real processes: Debian's gearmand and the built-in one."""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from poolmgr.gearman.endpoint import Address
from tests import forkserver
from tests.forkserver import Files, Started
from tests.wanted import program

TIMEOUT = 60.0


def free_port() -> int:
    """Return a free port of 127.0.0.1.

    The kernel gives none of these to a connection or to another server, so it
    stays free until it is used.
    """
    while True:
        port = 10_000 + secrets.randbelow(10_000)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def need_gearmand() -> str:
    """Return gearmand's path; without it skip the test, except in CI."""
    return program("gearmand")


class JobServerProcess:
    """A job server that can be stopped, killed and restarted."""

    def __init__(
        self, start: Callable[[int, Files], Started], port: int | None = None
    ) -> None:
        self._start = start
        self.address = Address("127.0.0.1", port or free_port())
        self._process: Started | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens."""
        with open(os.devnull, "r+") as null:
            nothing = null.fileno()
            self._process = self._start(
                self.address.port, (nothing, nothing, nothing)
            )
        end = time.monotonic() + TIMEOUT
        while not self._listens():
            assert self._process.poll() is None, "the job server ended"
            assert time.monotonic() < end, "the job server does not listen"
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(TIMEOUT)

    def restart(self) -> None:
        """Kill it and restart it on the same port."""
        self.kill()
        self.start()

    def _listens(self) -> bool:
        where = (self.address.host, self.address.port)
        try:
            with socket.create_connection(where, 1.0) as sock:
                # The kernel may choose the free port as the local port and
                # connect the socket to itself.
                return bool(sock.getsockname() != sock.getpeername())
        except OSError:
            return False


@contextmanager
def _running(
    server: JobServerProcess, start: bool
) -> Iterator[JobServerProcess]:
    try:
        if start:
            server.start()
        yield server
    finally:
        server.kill()


def gearmand(
    *args: str, port: int | None = None, start: bool = True
) -> AbstractContextManager[JobServerProcess]:
    """Run Debian's gearmand."""
    path = need_gearmand()

    def run(port: int, files: Files) -> Started:
        where = ["--listen=127.0.0.1", f"--port={port}", "--log-file=none"]
        stdin, stdout, stderr = files
        return subprocess.Popen(
            [path, *where, *args], stdin=stdin, stdout=stdout, stderr=stderr
        )

    return _running(JobServerProcess(run, port), start)


def builtin(
    port: int | None = None, start: bool = True
) -> AbstractContextManager[JobServerProcess]:
    """Run the built-in job server."""

    def run(port: int, files: Files) -> Started:
        args = ["--port", str(port)]
        variables = dict(os.environ)
        return forkserver.start(
            "poolmgr.gearman.server", args, variables, files
        )

    return _running(JobServerProcess(run, port), start)
