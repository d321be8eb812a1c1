"""Nothing is lost however often workers are killed."""

import random
from pathlib import Path

from tests.chaos.run import Plan, run


def test_every_job_has_one_thing_and_every_thing_its_job(
    tmp_path: Path,
) -> None:
    result = run(Plan(seconds=40.0, seed=random.randrange(10**6)), tmp_path)

    print(result.table())
    assert result.audit.problems == [], result.logs
    assert result.kills >= 10


def test_a_job_server_that_dies_with_its_jobs_leaves_nothing_for_good(
    tmp_path: Path,
) -> None:
    plan = Plan(25.0, random.randrange(10**6), restarts=True)
    plan.restart_chance = 0.4

    result = run(plan, tmp_path)

    print(result.table())
    assert result.audit.problems == [], result.logs
    assert result.restarts >= 1
