"""The diagrams of the page "Life of a job"."""

import re
import subprocess
import textwrap
from pathlib import Path
from typing import get_args

import pytest

from poolmgr.ownership import State
from tests.docs.blocks import SOURCE
from tests.docs.builds import sphinx
from tests.wanted import program

PAGE = (SOURCE / "flow.rst").read_text()
#: The width in points that fits a phone 400 pixels wide, without margins:
#: an inch has 96 pixels or 72 points.
WIDEST = 340 * 72 / 96


def diagrams() -> dict[str, str]:
    """Return the diagrams' sources by caption."""
    found = re.findall(
        r"^\.\. graphviz::\n   :alt: (.*?)\n   :caption: (.*?)\n\n"
        r"((?:   [^\n]*\n|\n)+)",
        PAGE,
        re.MULTILINE | re.DOTALL,
    )
    assert len(found) == PAGE.count(".. graphviz::")
    assert all(len(alt) > 100 for alt, _caption, _text in found)
    return {caption: textwrap.dedent(text) for _, caption, text in found}


@pytest.mark.parametrize("caption", diagrams())
def test_diagrams_render_and_fit_a_phone(caption: str) -> None:
    done = subprocess.run(
        [program("dot", package="graphviz"), "-Tsvg"],
        input=diagrams()[caption],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    # Screen readers need a description.
    assert f"<title>{caption}</title>" in done.stdout
    width = re.search(r'<svg width="(\d+)pt"', done.stdout)
    assert width is not None
    assert int(width[1]) <= WIDEST


def test_the_diagram_shows_all_states() -> None:
    text = diagrams()["The states of a device"]
    drawn = re.findall(r'^ +\w+ \[label="([\w ]+)\\n', text, re.MULTILINE)

    assert {*drawn} == {*get_args(State)}


def test_a_missing_dot_is_reported_with_its_package(
    tmp_path: Path,
) -> None:
    html = sphinx("html", tmp_path, PATH=str(tmp_path))

    assert html.returncode == 1
    assert html.stdout + html.stderr == (
        "the diagrams need dot, which is not installed; on Debian: "
        "apt-get install graphviz\n"
    )
