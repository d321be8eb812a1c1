"""The tutorial, typed into an empty folder to the letter."""

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

pytestmark = pytest.mark.timeout(900)

#: What a build or a run of the tests leaves in the sources.
LEFTOVERS = shutil.ignore_patterns(
    "__pycache__", ".*", "*.egg-info", "build", "doc"
)

#: What the page shows, in turn: a file's name and text, or commands.
Block = tuple[str | None, str]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[Block]:
    """The page as its reader sees it."""
    folder = tmp_path_factory.mktemp("page")
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-C", "-b", "xml"]
        + ["-D", "include_patterns=tutorial.rst", "-D", "root_doc=tutorial"]
        + ["-d", str(folder / "cache")]
        + [str(ROOT / "doc" / "source"), str(folder / "xml")],
        capture_output=True,
        timeout=100,
        check=True,
    )
    made = ET.parse(folder / "xml" / "tutorial.xml")  # noqa: S314  (our own)
    return list(_blocks(made))


def _blocks(page: "ET.ElementTree[ET.Element]") -> Iterator[Block]:
    for node in page.iter():
        if node.tag == "container" and node.get("literal_block"):
            block = node.find("literal_block")
            assert block is not None
            yield node.findtext("caption"), "".join(block.itertext())
        elif node.get("language") == "console":
            yield None, "".join(node.itertext())


def _typed(block: Block) -> Iterator[str]:
    """The lines for a shell that do what the block shows."""
    name, text = block
    if name is None:
        for command in re.findall("^[$] (.*)$", text, re.MULTILINE):
            yield f"echo {'# ' + command!r}"
            yield command
    else:
        yield f"cat >{name} <<'THE END'\n{text.rstrip()}\nTHE END"


def test_the_page_shows_the_whole_package(shown: list[Block]) -> None:
    files = {
        str(path.relative_to(EXAMPLE)): path.read_text().rstrip()
        for path in EXAMPLE.rglob("*")
        if path.suffix in (".py", ".cfg", ".toml")
    }

    assert {n: text.rstrip() for n, text in shown if n is not None} == files


@pytest.mark.packages
def test_what_is_typed_works(shown: list[Block], tmp_path: Path) -> None:
    # The page has poolmgr's sources there.
    shutil.copytree(ROOT, tmp_path / "poolmgr", ignore=LEFTOVERS)
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
