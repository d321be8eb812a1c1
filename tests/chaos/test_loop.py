"""Short rounds of kills; ``python -m tests.chaos`` runs long ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.plan import Plan
from tests.chaos.round import Round
from tests.chaos.tally import Tally

pytestmark = pytest.mark.timeout(900)
#: All workers have ended before the reaper runs, so it need not wait.
SHORT = Plan(seed=1, seconds=5.0, pause=0.7, waits=False)


def run(plan: Plan, folder: Path) -> Tally:
    """Run a round that must not fail, and return its figures."""
    result = Round(plan, folder).run()
    print(result.tally.table())
    assert not result.failures, "\n\n".join(result.failures)
    return result.tally


def test_random_kills_leave_one_resource_per_job(
    tmp_path: Path,
) -> None:
    tally = run(replace(SHORT, seconds=25.0, least_kills=20), tmp_path)

    assert tally.kills >= 20


def test_orphans_of_a_killed_job_server_are_reaped(
    tmp_path: Path,
) -> None:
    plan = replace(SHORT, seed=2, server_share=0.5, least_deaths=3)

    tally = run(plan, tmp_path)

    assert tally.deaths >= 3
    assert sum(n for (_a, how), n in tally.jobs.items() if how == "lost")


def test_random_kills_of_three_workers_on_the_fake_cloud(
    tmp_path: Path,
) -> None:
    plan = replace(SHORT, seed=3, least_kills=5, workers=3, cloud="fake")

    assert run(plan, tmp_path).kills >= 5
