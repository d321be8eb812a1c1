"""The processes: a cloud, and a job server and workers to kill."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.chaos.clouds import Cloud
from tests.chaos.pool import write_configuration
from tests.jobservers import JobServerProcess
from tests.polling import until

#: Seconds that a worker may take to drain, including the clean-up of its jobs.
_DRAIN = 120.0
TIMEOUT = 60.0


class Member:
    """A worker that is killed and restarted repeatedly.

    :ivar name: its name in messages
    :ivar starts: how often it was started
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
    ) -> None:
        self.name = name
        self.starts = 0
        self._command = command
        self._environment = {**os.environ, **environment}
        self._path = folder / f"{name}.log"
        self._log: IO[bytes] = self._path.open("ab")
        self._begin = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def registered(self) -> bool:
        """Whether it is registered with the job server."""
        if not self.alive:
            return False
        with self._path.open("rb") as log:
            log.seek(self._begin)
            return b"registered" in log.read()

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.alive:
            return
        self.starts += 1
        self._note(f"started for the {self.starts}. time")
        self._begin = self._path.stat().st_size
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            env=self._environment,
        )

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(TIMEOUT)
            self._note("killed")

    def drain(self) -> int:
        """Drain it and return its exit code."""
        assert self._process is not None
        if self.alive:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(_DRAIN)

    def close(self) -> None:
        """End the process."""
        if self.alive:
            self.kill()
        self._log.close()

    def _note(self, what: str) -> None:
        now = time.strftime("%F %T")
        self._log.write(f"======== {now} {self.name} {what}\n".encode())
        self._log.flush()


class Field:
    """A job server, a cloud, and workers.

    :param name: the pool's name
    :param server: the job server, started
    :ivar deaths: how often the job server was killed
    :ivar kills: how often a worker was killed
    """

    def __init__(
        self,
        name: str,
        cloud: Cloud,
        server: JobServerProcess,
        workers: int,
        folder: Path,
    ) -> None:
        self.name = name
        self.cloud = cloud
        self.server = server
        self.folder = folder
        self.configuration = write_configuration(
            folder / "poolmgr.conf", name, cloud.settings, server.address
        )
        self.members = [
            Member(f"worker-{number}", self._worker, cloud.environment, folder)
            for number in range(1, workers + 1)
        ]
        self.deaths = 0
        self.kills = 0

    @property
    def _worker(self) -> list[str]:
        return [*self.command, "worker"]

    @property
    def command(self) -> list[str]:
        """The command line of ``poolmgr`` with the pool's configuration."""
        module = [sys.executable, "-m", "poolmgr"]
        return [*module, "--config-file", str(self.configuration)]

    def victims(self, dice: random.Random, several: bool) -> list[Member]:
        """Return registered workers to kill.

        :param several: whether to return all of them
        """
        registered = [member for member in self.members if member.registered]
        if several or not registered:
            return registered
        return [dice.choice(registered)]

    def kill(self, member: Member) -> None:
        """Kill a worker."""
        self.kills += 1
        member.kill()

    def kill_server(self) -> None:
        """Kill the job server, and with it all its jobs."""
        self.deaths += (
            1  # first, since clients check it when their connection breaks
        )
        self.server.kill()

    def restore(self) -> None:
        """Start all workers and wait until they are registered."""
        for member in self.members:
            member.start()
        until(lambda: all(m.registered for m in self.members), TIMEOUT, 0.1)

    def drain(self) -> None:
        """Drain all workers."""
        codes = {member.name: member.drain() for member in self.members}
        assert set(codes.values()) == {0}, f"exit codes: {codes}"

    def close(self) -> None:
        """End all workers."""
        for member in self.members:
            member.close()
