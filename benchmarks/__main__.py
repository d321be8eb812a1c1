"""Compares two versions of poolmgr side by side in one run.

    python -m benchmarks [--against FOLDER] [--rounds N] [ROW...]

FOLDER is a clone of the other version in which ``./dev setup`` has run.
Workers are real processes on a real gearmand and a loopback OpenStack; both
versions take turns, and the tables show the medians.
"""

import argparse
import asyncio
import inspect
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import rows
from benchmarks.rig import Tree

Row = Callable[[Tree], Any]
ROWS: Mapping[str, Row] = {
    "waiting-1000": rows.waiting_1000,
    "waiting-10000": rows.waiting_10000,
    "calls": rows.calls,
    "fill": rows.fill,
    "build-ip": rows.build_ip,
    "transport": rows.transport,
    "restart": rows.restart,
    "startup": rows.startup,
    "entries": rows.entries,
}


def main() -> None:
    """Measure the requested rows and print a table for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--against", metavar="FOLDER", type=Path)
    parser.add_argument("--rounds", metavar="N", type=int, default=3)
    parser.add_argument("rows", nargs="*", metavar="ROW", default=[*ROWS])
    given = parser.parse_args()
    if unknown := {*given.rows} - {*ROWS}:
        parser.error(
            f"no row {', '.join(unknown)}; choose from {', '.join(ROWS)}"
        )
    trees = [Tree("this", Path(__file__).parent.parent.resolve())]
    if given.against is not None:
        trees.insert(0, Tree("other", given.against.resolve()))
    print(
        f"{date.today()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, load {os.getloadavg()[0]:.1f}, "
        f"medians of {given.rounds} rounds"
    )
    for name in given.rows:
        show(name, trees, measured(ROWS[name], trees, given.rounds))


def measured(
    row: Row, trees: list[Tree], rounds: int
) -> dict[Tree, dict[str, float]]:
    """Measure a row with each tree in turn and return the medians."""
    found: dict[Tree, list[dict[str, float]]] = {tree: [] for tree in trees}
    for _round in range(rounds):
        for tree, figures in found.items():
            result = row(tree)
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
            figures.append(result)
            time.sleep(0.5)
    return {
        tree: {
            label: statistics.median(each[label] for each in figures)
            for label in figures[0]
        }
        for tree, figures in found.items()
    }


def show(
    name: str, trees: list[Tree], found: dict[Tree, dict[str, float]]
) -> None:
    """Print a row's figures, one per line."""
    print(f"\n{name:<46}" + "".join(f"{tree.name:>12}" for tree in trees))
    for label in found[trees[0]]:
        cells = "".join(f"{found[tree][label]:>12.2f}" for tree in trees)
        print(f"  {label:<44}{cells}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
