"""``python -m tests.chaos``."""

import argparse
import random
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.chaos.plan import Plan
from tests.chaos.round import Round
from tests.chaos.tally import Tally


def main() -> int:
    """Run round after round until the time is up or one fails."""
    options = _parser().parse_args()
    # Processes that it started end with it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    end = time.monotonic() + options.minutes * 60
    folder = options.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    plan = Plan(
        seed=options.seed,
        seconds=options.round_seconds,
        workers=options.workers,
        customers=options.customers,
        cloud=options.cloud,
        faults=not options.no_faults,
        server_share=options.server_share,
        pause=options.pause,
    )
    print(f"seed {plan.seed}, logs in {folder}", flush=True)
    total = Tally()
    while True:
        place = folder / f"seed-{plan.seed}"
        place.mkdir(parents=True)
        result = Round(plan, place).run()
        total.add(result.tally)
        print(f"-- seed {plan.seed}\n{result.tally.table()}", flush=True)
        if result.failures or time.monotonic() >= end:
            break
        plan = replace(plan, seed=plan.seed + 1)
    print(f"== in all\n{total.table()}")
    for failure in result.failures:
        print(f"\nFAILED {failure}")
    if result.failures:
        print(
            f"\nagain: python -m tests.chaos --minutes 0 {_arguments_of(plan)}"
        )
        print(f"logs: {place}")
    return int(bool(result.failures))


def _arguments_of(plan: Plan) -> str:
    """Return the arguments that repeat this round."""
    flags = "" if plan.faults else " --no-faults"
    return (
        f"--seed {plan.seed} --cloud {plan.cloud} --workers {plan.workers} "
        f"--customers {plan.customers} --round-seconds {plan.seconds:g} "
        f"--pause {plan.pause:g} --server-share {plan.server_share:g}{flags}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Kill workers with -9 while clients build devices and "
        "move addresses, and check what is left. The exit code is 1 if "
        "anything was lost.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--minutes", type=float, default=60.0, help="start no round later")
    add(
        "--seed",
        type=int,
        default=random.randrange(10**6),
        help="seed of the first round; each later round adds 1",
    )
    add("--workers", type=int, default=2, help="how many workers")
    add("--customers", type=int, default=12, help="how many clients")
    add(
        "--cloud",
        choices=("loopback", "fake", "real"),
        default="loopback",
        help="the loopback OpenStack, the fake cloud, or the one that "
        "./dev cloud up has started",
    )
    add(
        "--round-seconds",
        type=float,
        default=300.0,
        help="seconds of jobs and kills before the reaper and the audit",
    )
    add("--pause", type=float, default=2.5, help="seconds between two kills")
    add("--no-faults", action="store_true", help="the cloud does not fail")
    add(
        "--server-share",
        type=float,
        default=0.08,
        help="share of the kills that hit the job server",
    )
    add("--folder", type=Path, help="for logs (default: a temporary one)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
