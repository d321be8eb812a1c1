"""Where things go wrong on purpose, and what poolmgr prints then."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from poolmgr.testing.openstack import LoopbackCloud
from tests.clouds import nova_group
from tests.jobservers import JobServerProcess, free_port, gearmand
from tests.processes import Process, poolmgr

FAKE = ("--driver", "fake")


class Stage:
    """Runs commands and workers in a folder of their own.

    :ivar folder: the folder
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._count = 0

    def cloud(self, **settings: Any) -> LoopbackCloud:
        """A loopback cloud; poolmgr finds it in a clouds.yaml."""
        cloud = self._stack.enter_context(LoopbackCloud(**settings))
        cloud.write_clouds_yaml(self.clouds_yaml)
        return cloud

    def job_server(self) -> JobServerProcess:
        """A gearmand."""
        return self._stack.enter_context(gearmand())

    def dead_address(self) -> str:
        """Where nothing listens."""
        return f"127.0.0.1:{free_port()}"

    @property
    def clouds_yaml(self) -> Path:
        """The file that poolmgr looks into."""
        return self.folder / "clouds.yaml"

    def config(self, text: str = "", **nova: object) -> str:
        """A configuration file: its path.

        :param text: what is in it
        :param nova: options of ``[nova]`` besides those that fit the cloud
        """
        self._count += 1
        path = self.folder / f"poolmgr{self._count}.conf"
        if self.clouds_yaml.exists():
            text = f"{nova_group('loopback', **nova)}\n{text}"
        path.write_text(text)
        return str(path)

    def at(self, server: str, text: str = "") -> list[str]:
        """Options for the fake cloud and one job server.

        :param text: what is in the configuration file
        """
        options = ["--config-file", self.config(text), *FAKE]
        return [*options, "--gearman-server", server]

    def run(self, *args: str) -> str:
        """All that a command prints.

        :param args: what follows ``poolmgr``
        """
        done = poolmgr(*args, **self._variables())
        return done.stdout + done.stderr

    def worker(self, *args: str, **env: str) -> Process:
        """A worker; ended with the stage.

        :param args: options before the command
        """
        process = Process([*args, "worker"], **{**self._variables(), **env})
        self._stack.callback(process.end)
        return process

    def log(
        self,
        args: Sequence[str],
        words: str,
        then: Callable[[Process], object] = lambda process: None,
    ) -> str:
        """What a worker logs until it has logged some words.

        :param args: options before the command
        :param then: done before these are waited for
        """
        process = self.worker(*args)
        then(process)
        process.wait_for(words)
        return "".join(process.lines)

    def _variables(self) -> dict[str, str]:
        return {
            "OS_CLIENT_CONFIG_FILE": str(self.clouds_yaml),
            "HOME": str(self.folder),
            # A machine without a name server is not waited for.
            "RES_OPTIONS": "timeout:1 attempts:1",
        }
