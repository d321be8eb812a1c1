"""What the page on troubleshooting quotes is what poolmgr says, and more."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.blocks import SOURCE
from tests.trouble import building, devices, plugins, serving, starting
from tests.trouble.scenes import SCENES
from tests.trouble.stage import Stage

#: Scenes are in these.
MODULES = (building, devices, plugins, serving, starting)
#: What may be there instead, depending on the machine or the moment.
INSTEAD = {
    "Name or service not known": "Temporary failure in name resolution",
    "closed by the job server": "Connection reset by peer",
}


def messages() -> set[str]:
    """The page's definition lists explain these."""
    page = (SOURCE / "trouble.rst").read_text()
    terms = re.findall(r"^(``.+``)\n {3}\S", page, re.MULTILINE)
    return {found for term in terms for found in re.findall("``(.+?)``", term)}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Where a scene is played."""
    with ExitStack() as stack:
        yield Stage(tmp_path, stack)


def test_every_message_has_its_scene() -> None:
    # Scenes of messages that need no explanation are played, too.
    assert messages() <= SCENES.keys()


@pytest.mark.parametrize("message", SCENES)
def test_it_is_what_poolmgr_says(message: str, stage: Stage) -> None:
    printed = SCENES[message](stage)

    for usual, other in INSTEAD.items():
        printed = printed.replace(other, usual)
    wanted = r".+".join(map(re.escape, message.split("...")))
    assert re.search(wanted, printed), f"{message}\n\n{printed}"
