"""What a run takes place on: a cloud, a job server, workers to be killed."""

import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from poolmgr.gearman import Address
from poolmgr.testing.openstack import LoopbackCloud
from tests.jobservers import JobServerProcess, gearmand
from tests.processes import Process

FUNCTION = "libra_pool_mgm"

#: How a worker is set up. A build that is killed again and again has to end
#: while somebody watches.
_CONFIG = """
[poolmgr]
long_timeout = 60
short_timeout = 60
[nova]
cloud = loopback
image = tiny
flavor = m1.nano
networks = private
floating_network = public
[gearman]
servers = {server}
reconnect_sleep = 0.5
[reaper]
mode = off
"""


@dataclass
class Field:
    """All of it, running.

    :ivar kills: how many workers were killed
    :ivar restarts: how often the job server was
    """

    cloud: LoopbackCloud
    server: JobServerProcess
    folder: Path
    workers: list[Process]
    kills: int = 0
    restarts: int = 0

    def start_worker(self, server: Address | None = None) -> Process:
        """Start one more worker, with the same configuration.

        :param server: another address of the job server
        """
        path = self.folder / "poolmgr.conf"
        if not path.exists():
            path.write_text(_CONFIG.format(server=self.server.address))
        clouds = self.folder / "clouds.yaml"
        if not clouds.exists():
            self.cloud.write_clouds_yaml(clouds)
        args = ["--config-file", str(path)]
        if server is not None:
            args += ["--gearman-server", str(server)]
        process = Process([*args, "worker"], OS_CLIENT_CONFIG_FILE=str(clouds))
        self.workers.append(process)
        return process

    def kill(self, process: Process) -> None:
        """Kill a worker (-9), and start another in its place."""
        process.signal(signal.SIGKILL)
        process.exit_code()
        self.workers.remove(process)
        process.end()
        self.kills += 1
        self.start_worker()

    def kill_one(self, chance: random.Random) -> None:
        """Kill any worker."""
        self.kill(chance.choice(self.workers))

    def restart_server(self) -> None:
        """Kill the job server, and start it anew without its jobs."""
        self.server.restart()
        self.restarts += 1

    def logs(self) -> str:
        """What the workers that live have logged."""
        return "".join(line for w in self.workers for line in w.lines)


@contextmanager
def field(folder: Path, workers: int, **cloud: float) -> Iterator[Field]:
    """A field, and its end.

    :param folder: for files
    :param workers: how many workers there are at a time
    :param cloud: what the cloud is like
    """
    with ExitStack() as stack:
        made = Field(
            stack.enter_context(LoopbackCloud(**cloud)),  # type: ignore[arg-type]
            stack.enter_context(gearmand()),
            folder,
            [],
        )
        try:
            for _each in range(workers):
                made.start_worker()
            for process in list(made.workers):
                process.wait_for("registered")
            yield made
        finally:
            for process in list(made.workers):
                process.end()
