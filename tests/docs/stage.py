"""Where the commands of a page run, and what provokes its messages."""

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from poolmgr.gearman.endpoint import Address
from poolmgr.testing.openstack import LoopbackCloud
from tests.clouds import nova_group
from tests.jobservers import JobServerProcess, builtin, free_port
from tests.processes import Process, poolmgr

#: The name of the cloud on the pages.
CLOUD = "mycloud"


class Stage:
    """A home folder with a configuration, clouds and job servers.

    :ivar folder: the folder, in which commands run
    :ivar stack: ends the processes
    :ivar variables: the environment of the commands
    :ivar names: the real names by those of the page
    :ivar numbers_differ: whether printed numbers differ each time
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.variables = {
            "HOME": str(folder),
            "OS_CLIENT_CONFIG_FILE": str(folder / "clouds.yaml"),
            "OS_MONITORING__PORT": "0",
            # Do not wait on a machine without a name server.
            "RES_OPTIONS": "timeout:1 attempts:1",
        }
        self.names: dict[str, str] = {}
        self.numbers_differ = False
        # Some commands name the file, others find it at its usual place.
        (folder / ".poolmgr").symlink_to(folder)

    def cloud(self, **settings: Any) -> LoopbackCloud:
        """Start a loopback cloud and configure it."""
        cloud = self.stack.enter_context(LoopbackCloud(**settings))
        path = cloud.write_clouds_yaml(self.folder / "clouds.yaml")
        path.write_text(path.read_text().replace("loopback", CLOUD))
        self.configure()
        return cloud

    def fake(self, text: str = "", **options: object) -> None:
        """Use the fake cloud.

        :param text: the configuration file
        :param options: options of ``[fake]``
        """
        self.variables["OS_POOLMGR__DRIVER"] = "fake"
        for name, value in options.items():
            self.variables[f"OS_FAKE__{name.upper()}"] = str(value)
        self.write("poolmgr.conf", text)

    def job_server(self) -> JobServerProcess:
        """Start a job server, which poolmgr uses from then on."""
        server = self.stack.enter_context(builtin())
        self.use(server.address)
        return server

    def dead_job_server(self) -> None:
        """Use an address at which nothing listens."""
        self.use(f"127.0.0.1:{free_port()}")

    def use(self, *servers: object) -> None:
        """Use job servers at these addresses."""
        self.variables["OS_GEARMAN__SERVERS"] = ",".join(map(str, servers))

    def configure(self, text: str = "", **nova: object) -> None:
        """Write a configuration file for the loopback cloud.

        :param text: other groups
        :param nova: more options of ``[nova]``
        """
        self.write("poolmgr.conf", f"{nova_group(CLOUD, **nova)}\n{text}")

    def real(self, text: str) -> str:
        """Return a text of the page with the real names."""
        for shown, real in self.names.items():
            text = re.sub(rf"(?<!\w){re.escape(shown)}(?!\w)", real, text)
        return text

    def write(self, name: str, text: str) -> Path:
        """Write a file that only its owner can read."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def run(self, *words: str) -> str:
        """Run a command of poolmgr and return its whole output."""
        done = poolmgr(*words, **self.variables)
        return done.stdout + done.stderr

    def worker(self, words: str = "registered", **variables: str) -> Process:
        """Start a worker, which ends with the stage.

        :param words: wait until it has logged them
        """
        process = Process(["worker"], **{**self.variables, **variables})
        self.stack.callback(process.end)
        process.wait_for(words)
        return process

    def working(self) -> tuple[Process, Address]:
        """Start a worker and its job server."""
        server = self.job_server()
        return self.worker(), server.address


#: What prints a text of a page.
Scene = Callable[[Stage], str]
#: By the message, or the start of the text.
SCENES: dict[str, Scene] = {}


def scene(*messages: str) -> Callable[[Scene], Scene]:
    """Register what prints a text."""

    def add(play: Scene) -> Scene:
        assert not SCENES.keys() & {*messages}
        SCENES.update(dict.fromkeys(messages, play))
        return play

    return add
