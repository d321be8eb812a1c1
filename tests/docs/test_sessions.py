"""Every command that a page shows does what the page says."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.blocks import pages
from tests.docs.excused import EXCUSED, OF_THEIR_OWN, excuse
from tests.docs.programs import fault
from tests.docs.session import Session
from tests.docs.stages import STAGES, stage_of
from tests.docs.steps import Step, steps_of

PAGES = [p for p in pages() if any(isinstance(s, Step) for s in steps_of(p))]
STEPS = [s for p in PAGES for s in steps_of(p) if isinstance(s, Step)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name not in OF_THEIR_OWN],
    ids=lambda page: page.name,
)
def test_commands_do_what_is_shown(page: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        session = Session(stage_of(page, tmp_path, stack), stack)
        problems = session.play(steps_of(page))

    assert problems == []


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.where)
def test_a_command_can_be_read(step: Step) -> None:
    """Those that are not run as well."""
    assert [fault(words) for words in step.simple if fault(words)] == []


def test_nothing_is_excused_that_is_not_there() -> None:
    used = {excuse(words, s.command) for s in STEPS for words in s.simple}

    assert set(EXCUSED.values()) <= used
    assert STAGES.keys() <= {page.name for page in PAGES}
