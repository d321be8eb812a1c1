"""Every command of the pages on OpenStack does what the page says."""

from pathlib import Path

import pytest

from tests.docs.nova_stage import NovaStage
from tests.docs.playing import PLAYED, each, each_page, found_in, steps
from tests.docs.stages import STAGES
from tests.docs.steps import Step

MINE = [page for page in PLAYED if STAGES.get(page.name) is NovaStage]


@each(steps(MINE))
def test_a_command_does_what_is_shown(
    step: Step, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The commands of a page are typed one after the other, once; each of
    them is a test, so that the wrong one is named."""
    problem = found_in(step.page, tmp_path_factory)[step.line]

    assert problem is None, f"{step.where}: $ {step.command}\n{problem}"


@each_page(MINE)
def test_what_goes_on_ends_well(
    page: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert found_in(page, tmp_path_factory)[0] is None
