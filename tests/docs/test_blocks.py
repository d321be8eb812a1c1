"""Every code block is what it seems to be.

Commands are run by test_sessions.py, Python programs by test_python.py.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from openstack.config import OpenStackConfig

from poolmgr.monitoring.statistics import HELP
from tests.docs.blocks import INCLUDE, LITERAL, ROOT, SOURCE, Block, blocks, of
from tests.docs.diagrams import check_diagram
from tests.docs.files import check_file
from tests.docs.messages import check_message
from tests.docs.plain import like, loose
from tests.docs.stage import SCENES, Stage
from tests.docs.steps import is_shell
from tests.monitoring.promtool import promtool
from tests.trouble import building, devices, serving

#: The modules with scenes.
MODULES = (building, devices, serving)
PAGE = (SOURCE / "trouble.rst").read_text()
#: The messages in the definition lists of the page on troubleshooting.
MESSAGES = [
    message
    for term in re.findall(r"^(``.+``)\n {3}\S", PAGE, re.MULTILINE)
    for message in re.findall("``(.+?)``", term)
]
#: Sphinx warns when the included part is missing.
#: The examples' tests are run by tests/plugins/test_plugins.py.
RUN = tuple(ROOT / each for each in ("tests", "poolmgr", "examples"))


def play(start: str, folder: Path) -> str:
    """Return what is really printed for a text of a page."""
    with ExitStack() as stack:
        return SCENES[start](Stage(folder, stack))


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_are_what_poolmgr_prints(
    message: str, tmp_path: Path
) -> None:
    printed = play(message, tmp_path)

    wanted = r".+".join(map(re.escape, message.split("...")))
    assert re.search(wanted, printed), f"{message}\n\n{printed}"


def check_text(block: Block, folder: Path) -> None:
    (start,) = (each for each in SCENES if block.text.startswith(each))
    printed = loose(play(start, folder))

    assert re.search(like(loose(block.text)), printed), printed


def check_include(block: Block, _folder: Path) -> None:
    path = (block.page.parent / block.text.strip()).resolve()

    assert path.is_file()
    assert any(path.is_relative_to(folder) for folder in RUN)
    if path.is_relative_to(ROOT / "tests"):
        assert path.name.startswith("test_")


def check_containerfile(block: Block, _folder: Path) -> None:
    ours = (ROOT / "Containerfile").read_text()

    assert block.text.startswith("FROM poolmgr\n")
    for path in re.findall(r"/opt/[\w/]+/bin", block.text):
        assert path in ours
    *_, user = re.findall(r"^USER (.+)$", block.text, re.M)
    assert user == re.findall(r"^USER (.+)$", ours, re.M)[-1]


def check_query(block: Block, _folder: Path) -> None:
    for name in re.findall(r"\bpoolmgr_\w+", block.text):
        assert name.removesuffix("_total") in HELP


def check_yaml(block: Block, folder: Path) -> None:
    path = folder / "shown.yml"
    path.write_text(block.text)
    match yaml.safe_load(block.text):
        case {"scrape_configs": _}:
            promtool("check", "config", str(path))
        case {"groups": _}:
            promtool("check", "rules", str(path))
        case {"clouds": clouds}:
            config = OpenStackConfig([str(path)], load_envvars=False)
            for name in clouds:
                cloud = config.get_one(name)
                auth = cloud.get_auth_args()
                assert auth["auth_url"].endswith("/v3")
                assert {"password", "project_name"} <= auth.keys()
                assert cloud.get_auth() is not None
        case _:
            pytest.fail("whose file is that?")


#: By language.
CHECKS: Mapping[str, Callable[[Block, Path], None]] = {
    INCLUDE: check_include,
    LITERAL: check_text,
    "docker": check_containerfile,
    "graphviz": check_diagram,
    "ini": check_file,
    "json": check_message,
    "promql": check_query,
    "systemd": check_file,
    "text": check_text,
    "yaml": check_yaml,
}
#: The start of a picture of who talks to whom.
PICTURE = "poolmgr ------- TLS"
SHOWN = [b for b in blocks() if not b.text.startswith(PICTURE)]


@of([b for b in SHOWN if b.language != "python" and not is_shell(b)])
def test_blocks_are_what_they_seem(block: Block, tmp_path: Path) -> None:
    CHECKS[block.language](block, tmp_path)


def test_every_scene_is_shown() -> None:
    shown = [
        block.text
        for block in SHOWN
        if CHECKS.get(block.language) is check_text
    ]

    for start in {*SCENES} - {*MESSAGES}:
        assert any(text.startswith(start) for text in shown), start
