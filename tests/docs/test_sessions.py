"""Every command on a page works as shown."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.blocks import pages
from tests.docs.excused import EXCUSED, OF_THEIR_OWN, excuse
from tests.docs.programs import fault
from tests.docs.session import Session
from tests.docs.stage import Stage
from tests.docs.stages import PREPARED, prepare_anything
from tests.docs.steps import Step, steps_of

STEPS = [s for p in pages() for s in steps_of(p) if isinstance(s, Step)]
PAGES = {step.page for step in STEPS}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "page",
    sorted(page for page in PAGES if page.name not in OF_THEIR_OWN),
    ids=lambda page: page.name,
)
def test_commands_print_what_the_page_shows(
    page: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        stage = Stage(tmp_path, stack)
        PREPARED.get(page.name, prepare_anything)(stage)
        Session(stage).play(page)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.where)
def test_commands_can_be_parsed(step: Step) -> None:
    """This includes commands that are not run."""
    assert [fault(words) for words in step.simple if fault(words)] == []


def written() -> Iterator[Step]:
    """Return the commands within the text of the pages."""
    for page in pages():
        text = page.read_text()
        for found in re.finditer(r"(?<!`)``([^`]+)``", text):
            command = " ".join(found[1].split())
            if command.startswith(("poolmgr ", "./dev ", "python -m ")):
                line = text.count("\n", 0, found.start()) + 1
                # "device list|show" stands for both commands.
                several = re.search(r"(\w+)\|(\w+)", command)
                for name in several.groups() if several else [""]:
                    one = re.sub(r"\w+\|\w+", name, command)
                    yield Step(page, line, one)


@pytest.mark.parametrize(
    "step", [*written()], ids=lambda s: f"{s.where} {s.command}"
)
def test_commands_in_the_text_can_be_parsed(step: Step) -> None:
    for words in step.simple:
        # The text may omit required arguments.
        allowed = "the following arguments are required"
        problem = fault(words) or ""
        assert not problem or allowed in problem, problem


def test_excused_commands_exist() -> None:
    used = {excuse(step) for step in STEPS}

    assert set(EXCUSED.values()) <= used
    assert PREPARED.keys() <= {page.name for page in PAGES}
