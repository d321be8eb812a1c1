"""A short loop of kills; the long one is ``python -m tests.chaos``."""

from pathlib import Path

import pytest

from tests.chaos.plan import Plan
from tests.chaos.round import Round


@pytest.mark.timeout(300)
def test_nothing_is_lost_or_made_twice(tmp_path: Path) -> None:
    plan = Plan(seed=1, seconds=30.0, least_kills=20, pause=0.7, waits=False)

    result = Round(plan, tmp_path).run()

    print(result.tally.table())
    assert not result.failures, "\n\n".join(result.failures)
    assert result.tally.kills >= 20


@pytest.mark.timeout(300)
def test_nor_on_a_cloud_of_another_kind(tmp_path: Path) -> None:
    plan = Plan(
        seed=2,
        seconds=5.0,
        least_kills=5,
        pause=0.7,
        cloud="fake",
        waits=False,
    )

    result = Round(plan, tmp_path).run()

    print(result.tally.table())
    assert not result.failures, "\n\n".join(result.failures)
