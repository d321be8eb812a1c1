"""The tutorial, followed literally in an empty folder."""

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environments import EXAMPLE, ROOT

pytestmark = pytest.mark.timeout(1800)

#: Files that a build or test run leaves in the sources.
LEFTOVERS = shutil.ignore_patterns(
    "__pycache__", ".*", "*.egg-info", "build", "doc"
)

#: The page's steps: a file's name and text, or commands.
Block = tuple[str | None, str]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[Block]:
    """Return the page's steps."""
    folder = tmp_path_factory.mktemp("page")
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-C", "-b", "xml"]
        + ["-D", "include_patterns=tutorial.rst", "-D", "root_doc=tutorial"]
        + ["-d", str(folder / "cache")]
        + [str(ROOT / "doc" / "source"), str(folder / "xml")],
        capture_output=True,
        timeout=300,
        check=True,
    )
    tree = ET.parse(folder / "xml" / "tutorial.xml")  # noqa: S314  (our own)
    return list(_blocks(tree))


def _blocks(page: "ET.ElementTree[ET.Element]") -> Iterator[Block]:
    for node in page.iter():
        if node.tag == "container" and node.get("literal_block"):
            block = node.find("literal_block")
            assert block is not None
            yield node.findtext("caption"), "".join(block.itertext())
        elif node.get("language") == "console":
            yield None, "".join(node.itertext())


def _typed(block: Block) -> Iterator[str]:
    """Return the block as shell commands."""
    name, text = block
    if name is None:
        for command in re.findall("^[$] (.*)$", text, re.MULTILINE):
            yield f"echo {'# ' + command!r}"
            yield command
    else:
        yield f"cat >{name} <<'THE END'\n{text.rstrip()}\nTHE END"


def test_the_tutorial_shows_the_complete_package(shown: list[Block]) -> None:
    files = {
        str(path.relative_to(EXAMPLE)): path.read_text().rstrip()
        for path in EXAMPLE.rglob("*")
        if path.suffix in (".py", ".cfg", ".toml")
    }

    assert {n: text.rstrip() for n, text in shown if n is not None} == files


@pytest.mark.packages
def test_the_tutorial_works_as_typed(
    shown: list[Block], tmp_path: Path
) -> None:
    # The page assumes poolmgr's sources there.
    shutil.copytree(ROOT, tmp_path / "src" / "poolmgr", ignore=LEFTOVERS)
    lines = [line for block in shown for line in _typed(block)]

    done = subprocess.run(
        ["bash", "-c", "\n".join(["set -eu", "cd", *lines])],
        capture_output=True,
        text=True,
        timeout=800,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(tmp_path), "COLUMNS": "200"},
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" passed") == 2
    *_before, listed = done.stdout.split("# poolmgr plugin list\n")
    for name in ("COUNT_DEVICES", "POWER_CYCLE", "rack"):
        assert re.search(f"{name} .* ok ", listed)
