"""How long poolmgr takes to start, beside a bare cliff application.

    python benchmarks/startup.py [ROUNDS]

Both are run in turn, and the medians' ratio is printed: machines are noisy,
but both of a pair meet the same noise.
"""

import statistics
import subprocess
import sys
import time

BARE = """
import sys
from cliff.app import App
from cliff.commandmanager import CommandManager
app = App("bare", "1", CommandManager("bare.cli"), deferred_help=True)
sys.exit(app.run(sys.argv[1:]))
"""


def seconds(command: list[str]) -> float:
    """Run a command; its wall-clock time."""
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print a table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    print(f"{'command':<12}{'poolmgr':>10}{'bare':>10}{'ratio':>8}")
    for option in ("--version", "--help"):
        ours = [sys.executable, "-m", "poolmgr", option]
        bare = [sys.executable, "-c", BARE, option]
        pairs = [(seconds(ours), seconds(bare)) for _ in range(rounds)]
        a, b = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(f"{option:<12}{a:>8.3f} s{b:>8.3f} s{a / b:>8.2f}")


if __name__ == "__main__":
    main()
