"""``python -m tests.chaos``: kill workers for as long as one likes."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.run import Plan, run


def main() -> int:
    """Run it again and again; 1 at the first problem."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Kills workers (-9) at any moment while jobs are done, "
        "with a cloud that fails now and then, and looks who owns what.",
    )
    add = parser.add_argument
    add("--minutes", type=float, default=10.0, help="default: %(default)g")
    add("--round", type=float, default=60.0, metavar="SECONDS",
        help="jobs are asked for so long before it is added up "
        "(default: %(default)g)")  # fmt: skip
    add("--seed", type=int, help="of the first round (default: any)")
    add("--workers", type=int, default=2, help="default: %(default)d")
    add("--clients", type=int, default=12, help="default: %(default)d")
    add("--kill-job-server", action="store_true",
        help="kill the job server, too, now and then")  # fmt: skip
    given = parser.parse_args()
    end = time.monotonic() + 60.0 * given.minutes
    seed = given.seed if given.seed is not None else random.randrange(10**6)
    while True:
        plan = Plan(
            given.round,
            seed,
            given.workers,
            given.clients,
            restarts=given.kill_job_server,
        )
        with tempfile.TemporaryDirectory() as folder:
            result = run(plan, Path(folder))
        print(result.table(), flush=True)
        print(flush=True)
        if result.audit.problems:
            print("\n".join(result.audit.problems), file=sys.stderr)
            print(result.logs, file=sys.stderr)
            return 1
        if time.monotonic() >= end:
            return 0
        seed += 1


if __name__ == "__main__":
    sys.exit(main())
