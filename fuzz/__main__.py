"""``python -m fuzz [TARGET ...] [--seconds N]``."""

import argparse
import importlib
import logging
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from fuzz import TARGETS


def main() -> int:
    """Fuzz each target in its own process; return 1 if one found a fault."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz",
        description="Fuzz the code that reads foreign bytes. Interesting "
        "inputs are kept in the folder, and the next run begins with them.",
    )
    add = parser.add_argument
    add("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET")
    add("--seconds", type=int, default=60, help="per target (default: 60)")
    add("--folder", type=Path, default=Path(".fuzz"), help="default: .fuzz")
    add("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    targets = given.targets or TARGETS
    if given.here:
        run(targets[0], given.seconds, given.folder / targets[0])
    failed = [
        target
        for target in targets
        if subprocess.call(
            [
                *(sys.executable, "-m", "fuzz", "--here", target),
                *("--seconds", str(given.seconds)),
                *("--folder", str(given.folder)),
            ]
        )
    ]
    for target in failed:
        print(f"{target}: see {given.folder}/{target}-*", file=sys.stderr)
    return 1 if failed else 0


def run(target: str, seconds: int, folder: Path) -> None:
    """Fuzz a target; end the process.

    :param folder: the folder of its corpus
    """
    import atheris

    with atheris.instrument_imports(include=["poolmgr", "fuzz"]):
        module = importlib.import_module(f"fuzz.{target}")
    logging.disable(logging.CRITICAL)
    _write_seeds(module, folder)
    # https://llvm.org/docs/LibFuzzer.html#options
    options = [
        f"-max_total_time={seconds}",
        f"-artifact_prefix={folder}-",
        "-max_len=4096",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    atheris.Setup([target, *options, str(folder)], module.one)
    atheris.Fuzz()


def _write_seeds(module: ModuleType, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(module.SEEDS):
        (folder / f"seed-{number}").write_bytes(seed)


if __name__ == "__main__":
    sys.exit(main())
