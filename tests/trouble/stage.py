"""The stage of the scenes."""

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
    """Runs commands and workers in their own folder.

    :ivar folder: the folder
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._count = 0

    def cloud(self, **settings: Any) -> LoopbackCloud:
        """Start a loopback cloud and write a clouds.yaml for it."""
        cloud = self._stack.enter_context(LoopbackCloud(**settings))
        cloud.write_clouds_yaml(self.clouds_yaml)
        return cloud

    def job_server(self) -> JobServerProcess:
        """Start a gearmand."""
        return self._stack.enter_context(gearmand())

    def dead_address(self) -> str:
        """Return an address at which nothing listens."""
        return f"127.0.0.1:{free_port()}"

    @property
    def clouds_yaml(self) -> Path:
        """The path of clouds.yaml."""
        return self.folder / "clouds.yaml"

    def config(self, text: str = "", **nova: object) -> str:
        """Write a configuration file and return its path.

        :param text: its contents
        :param nova: more options of ``[nova]``
        """
        self._count += 1
        path = self.folder / f"poolmgr{self._count}.conf"
        if self.clouds_yaml.exists():
            text = f"{nova_group('loopback', **nova)}\n{text}"
        path.write_text(text)
        return str(path)

    def at(self, server: str, text: str = "") -> list[str]:
        """Return options for the fake cloud and one job server.

        :param text: the contents of the configuration file
        """
        options = ["--config-file", self.config(text), *FAKE]
        return [*options, "--gearman-server", server]

    def run(self, *args: str) -> str:
        """Run a command and return its whole output.

        :param args: the words after ``poolmgr``
        """
        done = poolmgr(*args, **self._variables())
        return done.stdout + done.stderr

    def worker(self, *args: str, **env: str) -> Process:
        """Start a worker; it ends with the stage.

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
        """Return a worker's log up to some words.

        :param args: options before the command
        :param then: called before waiting for the words
        """
        process = self.worker(*args)
        then(process)
        process.wait_for(words)
        return "".join(process.lines)

    def _variables(self) -> dict[str, str]:
        return {
            "OS_CLIENT_CONFIG_FILE": str(self.clouds_yaml),
            "HOME": str(self.folder),
            # Do not wait on a machine without a name server.
            "RES_OPTIONS": "timeout:1 attempts:1",
        }
