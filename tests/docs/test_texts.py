"""Every text on a page is real output, and every block has a test."""

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

#: The languages that other test modules check.
LOOKED_AT = {*SHELLS, "ini", "systemd", "json", "python", "yaml", INCLUDE}
#: The languages checked here.
MINE = {LITERAL, "text", "docker", "promql"}
#: Benchmarks take minutes, so their page is not reproduced.
MEASURED = "results.rst"


def texts() -> list[Block]:
    """Return the texts that are neither commands nor their output."""
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
def test_texts_are_printed(
    block: Block, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    printing = printer(block)
    assert printing is not None, f"{block.where}: who prints that?"

    printed = printing(tmp_path, caplog)

    shown, real = folded(loose(block.text)), folded(loose(printed))
    assert re.search(like(shown), real), f"{block.where}:\n{real}"


def test_benchmark_results_have_the_benchmarks_rows() -> None:
    page = (SOURCE / MEASURED).read_text()
    shown = "".join(
        block.text for block in blocks("text") if block.page.name == MEASURED
    )
    rows = re.findall(r"^(\S+) +(?:other +)?this$", shown, re.MULTILINE)

    assert "``python -m benchmarks" in page
    assert {*rows} <= {*ROWS}


@of(blocks("docker"))
def test_the_derived_image_fits_the_base_image(block: Block) -> None:
    ours = (ROOT / "Containerfile").read_text()

    assert block.text.startswith("FROM poolmgr\n")
    for path in re.findall(r"/opt/[\w/]+/bin", block.text):
        assert path in ours
    *_, user = re.findall(r"^USER (.+)$", block.text, re.M)
    assert user == re.findall(r"^USER (.+)$", ours, re.M)[-1]


@of(blocks("promql"))
def test_queries_use_existing_metrics(block: Block) -> None:
    for name in re.findall(r"\bpoolmgr_\w+", block.text):
        assert name.removesuffix("_total") in HELP


@of(blocks())
def test_every_block_is_checked_by_a_test(block: Block) -> None:
    if block.language not in LOOKED_AT | MINE:
        pytest.fail(f"{block.where}: no test for {block.language!r}")


def test_every_printer_has_a_text() -> None:
    used = {printer(block) for block in texts()}

    assert used >= {*PRINTED.values()}
