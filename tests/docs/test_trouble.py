"""The messages on the troubleshooting page are real."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.blocks import SOURCE
from tests.trouble import building, devices, plugins, serving, starting
from tests.trouble.scenes import SCENES
from tests.trouble.stage import Stage

#: The modules with scenes.
MODULES = (building, devices, plugins, serving, starting)
#: Alternatives that depend on machine or timing.
INSTEAD = {
    "Name or service not known": "Temporary failure in name resolution",
    "closed by the job server": "Connection reset by peer",
}


def messages() -> set[str]:
    """Return the messages in the page's definition lists."""
    page = (SOURCE / "trouble.rst").read_text()
    terms = re.findall(r"^(``.+``)\n {3}\S", page, re.MULTILINE)
    return {found for term in terms for found in re.findall("``(.+?)``", term)}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Yield the stage of a scene."""
    with ExitStack() as stack:
        yield Stage(tmp_path, stack)


def test_every_message_has_a_scene() -> None:
    # Some scenes have messages that need no explanation.
    assert messages() <= SCENES.keys()


@pytest.mark.parametrize("message", SCENES)
def test_messages_are_what_poolmgr_prints(message: str, stage: Stage) -> None:
    printed = SCENES[message](stage)

    for usual, other in INSTEAD.items():
        printed = printed.replace(other, usual)
    wanted = r".+".join(map(re.escape, message.split("...")))
    assert re.search(wanted, printed), f"{message}\n\n{printed}"
