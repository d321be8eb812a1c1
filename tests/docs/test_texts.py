"""Every text that a page shows is what is printed.

And there is nothing on any page that no test looks at.
"""

import re
from pathlib import Path

import pytest

from benchmarks.__main__ import ROWS
from poolmgr.monitoring.statistics import HELP
from tests.docs.blocks import (
    INCLUDE,
    LITERAL,
    ROOT,
    SOURCE,
    Block,
    blocks,
    of,
)
from tests.docs.excused import OF_THEIR_OWN
from tests.docs.plain import folded, like, loose
from tests.docs.printed import PRINTED, Printer
from tests.docs.steps import SHELLS, Step, is_shell, steps_of

#: What the other modules here look at.
LOOKED_AT = {*SHELLS, "ini", "systemd", "json", "python", "yaml", INCLUDE}
#: What this one does.
MINE = {LITERAL, "text", "docker", "promql"}
#: Benchmarks run for minutes: their page shows what they printed.
MEASURED = "results.rst"


def texts() -> list[Block]:
    """The texts that are no commands, nor printed by the one above them."""
    printed = {
        step.shown
        for page in {block.page for block in blocks("text")}
        for step in steps_of(page)
        if isinstance(step, Step)
    }
    return [
        block
        for block in blocks(LITERAL, "text")
        if not is_shell(block)
        and block.text.strip("\n") not in printed
        and block.page.name not in (*OF_THEIR_OWN, MEASURED)
    ]


def printer(block: Block) -> Printer | None:
    return next(
        (
            printer
            for (page, start), printer in PRINTED.items()
            if block.page.name == page and block.text.startswith(start)
        ),
        None,
    )


@of(texts())
def test_it_is_printed(
    block: Block, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    printing = printer(block)
    assert printing is not None, f"{block.where}: who prints that?"

    printed = printing(tmp_path, caplog)

    shown, real = folded(loose(block.text)), folded(loose(printed))
    assert re.search(like(shown), real), f"{block.where}:\n{real}"


def test_measurements_are_those_of_the_benchmarks() -> None:
    page = (SOURCE / MEASURED).read_text()
    shown = "".join(
        block.text for block in blocks("text") if block.page.name == MEASURED
    )
    rows = re.findall(r"^(\S+) +(?:other +)?this$", shown, re.MULTILINE)

    assert "``python -m benchmarks" in page
    assert {*rows} <= {*ROWS}


@of(blocks("docker"))
def test_an_image_on_top_of_ours_fits_it(block: Block) -> None:
    ours = (ROOT / "Containerfile").read_text()

    assert block.text.startswith("FROM poolmgr\n")
    for path in re.findall(r"/opt/[\w/]+/bin", block.text):
        assert path in ours
    *_, user = re.findall(r"^USER (.+)$", block.text, re.M)
    assert user == re.findall(r"^USER (.+)$", ours, re.M)[-1]


@of(blocks("promql"))
def test_questions_are_about_metrics_that_there_are(block: Block) -> None:
    for name in re.findall(r"\bpoolmgr_\w+", block.text):
        assert name.removesuffix("_total") in HELP


@of(blocks())
def test_nothing_is_looked_at_by_nobody(block: Block) -> None:
    if block.language not in LOOKED_AT | MINE:
        pytest.fail(f"{block.where}: no test for {block.language!r}")


def test_there_is_somebody_to_print_for() -> None:
    used = {printer(block) for block in texts()}

    assert used >= {*PRINTED.values()}
