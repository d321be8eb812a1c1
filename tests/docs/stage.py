"""The place where a page's commands are typed."""

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

from poolmgr.testing.openstack import LoopbackCloud
from tests.clouds import nova_group
from tests.docs.blocks import Block
from tests.jobservers import builtin

#: What the pages call their cloud.
CLOUD = "mycloud"


def write_clouds(cloud: LoopbackCloud, path: Path) -> None:
    """A clouds.yaml in which a loopback cloud bears the pages' name."""
    cloud.write_clouds_yaml(path)
    (shown,) = json.loads(path.read_text())["clouds"].values()
    path.write_text(json.dumps({"clouds": {CLOUD: shown}}))


class Stage:
    """A home with a cloud and a configuration, and a job server.

    Pages that need something else have a stage of their own.

    :param folder: where its files are
    :param stack: ends what goes on
    """

    #: Whether what is shown is what a terminal shows.
    on_terminal: ClassVar[bool] = False
    #: Whether the numbers that are shown are others each time.
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
        #: What the page has, and what it is really.
        self._bound: dict[str, str] = {}
        self.prepare()

    def prepare(self) -> None:
        """Have what the page begins with."""
        clouds = self.home / ".config" / "openstack"
        clouds.mkdir(parents=True)
        write_clouds(self.cloud, clouds / "clouds.yaml")
        for folder in (self.home / ".poolmgr", self.folder):
            self.write(folder / "poolmgr.conf", nova_group(CLOUD))

    def meet(self, block: Block) -> None:
        """Write a configuration file that has a name in the text before."""
        named = re.findall(r"``([\w-]+\.conf)``", block.before)
        if block.language == "ini" and named:
            self.write(self.folder / named[-1], block.text)

    # -- names --------------------------------------------------------------

    def bind(self, shown: str, real: str) -> None:
        """What stands in the page for something real."""
        self._bound.setdefault(shown, real)

    def real(self, text: str) -> str:
        """A text of the page with what is real."""
        for shown, real in self._bound.items():
            text = re.sub(rf"(?<!\w){re.escape(shown)}(?!\w)", real, text)
        return text

    def shown(self, text: str) -> str:
        """A text with what the page has in place of what is real."""
        for shown, real in self._bound.items():
            text = text.replace(real, shown)
        return text

    # -- files --------------------------------------------------------------

    def at_root(self, path: str) -> Path:
        """Where a file of the system is."""
        return self.root / path.lstrip("/")

    def write(self, path: Path, text: str) -> None:
        """Write a file that nobody else can read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)
