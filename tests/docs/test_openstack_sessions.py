"""Every command of the pages on OpenStack does what the page says."""

from pathlib import Path

import pytest

from tests.docs.nova_stage import NovaStage
from tests.docs.playing import PLAYED, check, check_end, each, each_page, steps
from tests.docs.stages import STAGES
from tests.docs.steps import Step

# The first test of a page runs all of its commands.
pytestmark = pytest.mark.timeout(600)

MINE = [page for page in PLAYED if STAGES.get(page.name) is NovaStage]


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
