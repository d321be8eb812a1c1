"""Short loops of kills; the long one is ``python -m tests.chaos``."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.plan import Plan
from tests.chaos.round import Round
from tests.chaos.tally import Tally

pytestmark = pytest.mark.timeout(300)
#: All workers are told to end before the reaper passes, so it need not wait.
SHORT = Plan(seed=1, seconds=5.0, pause=0.7, waits=False)


def run(plan: Plan, folder: Path) -> Tally:
    """The figures of a round in which nothing was lost."""
    result = Round(plan, folder).run()
    print(result.tally.table())
    assert not result.failures, "\n\n".join(result.failures)
    return result.tally


def test_every_job_has_one_thing_and_every_thing_its_job(
    tmp_path: Path,
) -> None:
    tally = run(replace(SHORT, seconds=25.0, least_kills=20), tmp_path)

    assert tally.kills >= 20


def test_a_job_server_that_dies_with_its_jobs_leaves_nothing_for_good(
    tmp_path: Path,
) -> None:
    plan = replace(SHORT, seed=2, server_share=0.5, least_deaths=3)

    tally = run(plan, tmp_path)

    assert tally.deaths >= 3
    assert sum(n for (_a, how), n in tally.jobs.items() if how == "lost")


def test_a_pool_of_three_workers_on_a_cloud_of_another_kind(
    tmp_path: Path,
) -> None:
    plan = replace(SHORT, seed=3, least_kills=5, workers=3, cloud="fake")

    assert run(plan, tmp_path).kills >= 5
