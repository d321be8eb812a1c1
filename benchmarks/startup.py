"""How long poolmgr takes to start, beside a bare cliff application.

    python benchmarks/startup.py [ROUNDS]

All commands are run in turn, and the table has the medians and their ratios
to the bare application's same option: machines are noisy, but all meet the
same noise.  A build on the fake cloud and one on the loopback OpenStack (no
delay, boots of 0 s) show what loading a cloud's library costs; ``openstack
--version`` is there if python-openstackclient is on the PATH.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from poolmgr.testing.openstack import LoopbackCloud

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
    subprocess.run(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - started


def commands(clouds: Path) -> Mapping[str, list[str]]:
    """What is run, by what the table calls it."""
    poolmgr = [sys.executable, "-m", "poolmgr"]
    bare = [sys.executable, "-c", BARE]
    found = {
        "bare --version": [*bare, "--version"],
        "poolmgr --version": [*poolmgr, "--version"],
        "bare --help": [*bare, "--help"],
        "poolmgr --help": [*poolmgr, "--help"],
        "build-device, fake": [*poolmgr, "--driver", "fake", "build-device"],
        "build-device, OpenStack": [
            *(*poolmgr, "--os-cloud", "loopback", "build-device"),
        ],
    }
    os.environ.update(
        OS_CLIENT_CONFIG_FILE=str(clouds),
        OS_NOVA__IMAGE="tiny",
        OS_NOVA__FLAVOR="m1.nano",
        OS_NOVA__NETWORKS="private",
    )
    openstack = shutil.which("openstack")
    if openstack:
        found["openstack --version"] = [openstack, "--version"]
    return found


def main() -> None:
    """Measure and print a table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with (
        tempfile.TemporaryDirectory() as folder,
        LoopbackCloud(boot_time=0.0) as cloud,
    ):
        clouds = Path(folder) / "clouds.yaml"
        cloud.write_clouds_yaml(clouds)
        found: dict[str, list[float]] = {}
        for _round in range(rounds):
            for name, command in commands(clouds).items():
                found.setdefault(name, []).append(seconds(command))
    medians = {name: statistics.median(each) for name, each in found.items()}
    print(f"{'':26}{'':>10}{'beside bare':>14}")
    for name, median in medians.items():
        base = medians[
            "bare --help" if name.endswith("--help") else "bare --version"
        ]
        print(f"{name:26}{median:>8.3f} s{median / base:>14.2f}")


if __name__ == "__main__":
    main()
