"""The tutorial, followed literally in an empty folder."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import INCLUDE, SOURCE, blocks_of
from tests.docs.steps import is_shell, steps_in
from tests.environments import EXAMPLE, ROOT

pytestmark = pytest.mark.timeout(1800)

PAGE = SOURCE / "tutorial.rst"
#: The page's files by name; what it shows again has no name.
FILES = {
    block.options["caption"]: (SOURCE / block.text.strip()).read_text()
    for block in blocks_of(PAGE, INCLUDE)
    if "caption" in block.options
}


def typed() -> Iterator[str]:
    """Return the page as shell commands."""
    for block in blocks_of(PAGE):
        if is_shell(block):
            for step in steps_in(block):
                yield f"echo {'# ' + step.command!r}"
                yield step.command
        elif name := block.options.get("caption"):
            yield f"cat >{name} <<'THE END'\n{FILES[name]}THE END"


def test_the_tutorial_shows_the_complete_package() -> None:
    for block in blocks_of(PAGE, INCLUDE):
        # A file with a name is shown as a whole.
        whole = block.options.keys() <= {"caption", "language"}
        assert whole == ("caption" in block.options)
    assert {
        str(path.relative_to(EXAMPLE)): path.read_text()
        for path in EXAMPLE.rglob("*")
        if path.suffix in (".py", ".cfg", ".toml")
    } == FILES


@pytest.mark.packages
def test_the_tutorial_works_as_typed(tmp_path: Path) -> None:
    # The page assumes poolmgr's sources there, without what tests leave.
    leftovers = ("__pycache__", ".*", "*.egg-info", "build", "doc")
    ignored = shutil.ignore_patterns(*leftovers)
    shutil.copytree(ROOT, tmp_path / "src" / "poolmgr", ignore=ignored)

    done = subprocess.run(
        ["bash", "-c", "\n".join(["set -eu", "cd", *typed()])],
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
