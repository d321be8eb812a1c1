"""Every command that a page shows does what the page says.

Those of the pages on OpenStack are in test_openstack_sessions.py, so that two
processes can share the work.
"""

from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, SOURCE
from tests.docs.excused import EXCUSED, OF_THEIR_OWN, excuse
from tests.docs.nova_stage import NovaStage
from tests.docs.playing import (
    PLAYED,
    STEPS,
    check,
    check_end,
    each,
    each_page,
    steps,
)
from tests.docs.programs import fault
from tests.docs.stages import STAGES
from tests.docs.steps import Step

# The first test of a page runs all of its commands.
pytestmark = pytest.mark.timeout(600)

MINE = [page for page in PLAYED if STAGES.get(page.name) is not NovaStage]


@each(steps(MINE))
def test_a_command_does_what_is_shown(
    step: Step, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(step, tmp_path_factory)


@each_page(MINE)
def test_what_goes_on_ends_well(
    page: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check_end(page, tmp_path_factory)


@each([s for s in steps(list(STEPS)) if s.page not in PLAYED])
def test_a_command_of_a_page_with_tests_of_its_own_can_be_read(
    step: Step,
) -> None:
    if "poolmgr" in step.command:
        assert [fault(words) for words in step.simple if fault(words)] == []


@pytest.mark.parametrize("page", OF_THEIR_OWN)
def test_pages_with_tests_of_their_own_have_them(page: str) -> None:
    if (SOURCE / page).exists():
        tests = (ROOT / "tests" / OF_THEIR_OWN[page]).read_text()
        assert page in tests


def test_nothing_is_excused_that_is_not_there() -> None:
    every = steps(list(STEPS))
    used = {excuse(w, s.command) for s in every for w in s.simple}
    names = {page.name for page in STEPS}

    assert set(EXCUSED.values()) <= used
    assert STAGES.keys() <= names
