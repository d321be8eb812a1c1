"""Workers on the real OpenStack are killed with SIGKILL."""

from pathlib import Path

import pytest

from tests.chaos.plan import Plan
from tests.chaos.round import Round
from tests.realcloud.conftest import RealCloud


@pytest.mark.timeout(900)
def test_killed_workers_leave_neither_orphans_nor_duplicates(
    real_cloud: RealCloud, tmp_path: Path
) -> None:
    plan = Plan(
        seed=1,
        seconds=40.0,
        least_kills=8,
        customers=5,
        cloud="real",
        pause=3.0,
        faults=False,
        server_share=0.0,
        waits=False,
    )

    result = Round(plan, tmp_path).run()

    print(result.tally.table())
    assert not result.failures, "\n\n".join(result.failures)
