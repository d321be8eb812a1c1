"""The environment in which a page's commands run."""

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

from poolmgr.testing.openstack import LoopbackCloud
from tests.clouds import nova_group
from tests.docs.blocks import Block
from tests.jobservers import builtin

#: The name of the cloud on the pages.
CLOUD = "mycloud"


def write_clouds(cloud: LoopbackCloud, path: Path) -> None:
    """Write a clouds.yaml that gives a loopback cloud the pages' name."""
    cloud.write_clouds_yaml(path)
    (shown,) = json.loads(path.read_text())["clouds"].values()
    path.write_text(json.dumps({"clouds": {CLOUD: shown}}))


class Stage:
    """A home folder with a cloud, a configuration and a job server.

    Some pages have a stage of their own.

    :param folder: the folder of its files
    :param stack: ends its processes
    """

    #: Whether the page shows terminal output.
    on_terminal: ClassVar[bool] = False
    #: Whether the numbers differ each time.
    numbers_differ: ClassVar[bool] = False

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder / "here"
        self.root = folder / "root"
        self.home = folder / "home"
        for each in (self.folder, self.root, self.home):
            each.mkdir()
        self.stack = stack
        self.cloud = stack.enter_context(LoopbackCloud())
        self.server = stack.enter_context(builtin())
        self.variables = {
            "HOME": str(self.home),
            "OS_GEARMAN__SERVERS": str(self.server.address),
            "OS_MONITORING__PORT": "0",
        }
        #: Names of the page and the real ones.
        self._bound: dict[str, str] = {}
        self.prepare()

    def prepare(self) -> None:
        """Set up what the page assumes."""
        clouds = self.home / ".config" / "openstack"
        clouds.mkdir(parents=True)
        write_clouds(self.cloud, clouds / "clouds.yaml")
        for folder in (self.home / ".poolmgr", self.folder):
            self.write(folder / "poolmgr.conf", nova_group(CLOUD))

    def meet(self, block: Block) -> None:
        """Write a configuration file that the preceding text names."""
        named = re.findall(r"``([\w-]+\.conf)``", block.before)
        if block.language == "ini" and named:
            self.write(self.folder / named[-1], block.text)

    # -- names --------------------------------------------------------------

    def bind(self, shown: str, real: str) -> None:
        """Map a name of the page to a real one."""
        self._bound.setdefault(shown, real)

    def real(self, text: str) -> str:
        """Return a text of the page with the real names."""
        for shown, real in self._bound.items():
            text = re.sub(rf"(?<!\w){re.escape(shown)}(?!\w)", real, text)
        return text

    def shown(self, text: str) -> str:
        """Return a text with the page's names in place of the real ones."""
        for shown, real in self._bound.items():
            text = text.replace(real, shown)
        return text

    # -- files --------------------------------------------------------------

    def at_root(self, path: str) -> Path:
        """Return the path that stands for a system file."""
        return self.root / path.lstrip("/")

    def write(self, path: Path, text: str) -> None:
        """Write a file that only its owner can read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)
