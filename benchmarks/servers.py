"""gearmand and other processes, as the benchmarks need them."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from poolmgr.errors import TransportError
from poolmgr.gearman import Address, admin


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def process(
    *command: str, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that goes on while the block runs."""
    running = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


class Gearmand:
    """A gearmand that can be killed and started again."""

    def __init__(self) -> None:
        path = shutil.which("gearmand", path=f"{os.environ['PATH']}:/usr/sbin")
        if path is None:
            sys.exit(
                "gearmand is not installed: apt-get install gearman-job-server"
            )
        self.address = Address("127.0.0.1", free_port())
        self._command = [
            *(path, "--listen=127.0.0.1", f"--port={self.address.port}"),
            "--log-file=none",
        ]
        self._stack = ExitStack()
        self.process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> "Gearmand":
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.kill()

    async def start(self) -> None:
        """Start it and wait until it listens."""
        self.process = self._stack.enter_context(process(*self._command))
        while True:
            with contextlib.suppress(TransportError):
                await admin.version(self.address)
                return
            await asyncio.sleep(0.01)

    def kill(self) -> None:
        """End it with -9."""
        self._stack.close()
