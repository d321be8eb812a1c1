"""Checks of the diagrams on the pages."""

import re
import subprocess
from pathlib import Path
from typing import get_args

from poolmgr.ownership import State
from tests.docs.blocks import Block
from tests.wanted import program

#: The width in points that fits a phone 400 pixels wide, without margins:
#: an inch has 96 pixels or 72 points.
WIDEST = 340 * 72 / 96


def check_diagram(block: Block, _folder: Path) -> None:
    """Check that a diagram is rendered and fits a phone."""
    done = subprocess.run(
        [program("dot", package="graphviz"), "-Tsvg"],
        input=block.text,
        capture_output=True,
        text=True,
        check=False,
    )
    caption = block.options["caption"]

    assert (done.returncode, done.stderr) == (0, "")
    # Screen readers need a description.
    assert f"<title>{caption}</title>" in done.stdout
    assert len(block.options["alt"]) > 100
    width = re.search(r'<svg width="(\d+)pt"', done.stdout)
    assert width is not None
    assert int(width[1]) <= WIDEST
    if caption == "The states of a device":
        drawn = re.findall(r'^ +\w+ \[label="([\w ]+)\\n', block.text, re.M)
        assert {*drawn} == {*get_args(State)}
