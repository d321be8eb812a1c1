"""Run the benchmarks and write what they print into a page.

    python benchmarks/results.py PAGE [NAME...]

Each program runs as it is by itself; with names, only those.  The page keeps
what it has of the others.
"""

import datetime
import os
import platform
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Benchmark:
    """A program, and what its table tells.

    :ivar arguments: of the run that is shown
    """

    title: str
    tells: str
    arguments: tuple[str, ...] = ()


BENCHMARKS: Mapping[str, Benchmark] = {
    "transport": Benchmark(
        "The transport beside its peers",
        "No-op jobs of 100 bytes on one gearmand: answers a second of 50 "
        "clients that each wait for theirs, of a queue in background, and "
        "the time of one job after another; each with its ratio to a worker "
        "in C. ``threads`` has a thread pool answer, as poolmgr's jobs are "
        "run; ``loop`` answers in the event loop.",
    ),
    "whole_path": Benchmark(
        "The whole path beside the bare transport",
        "BUILD_IP on the fake cloud without delay, from the job server's "
        "bytes to the answer's, and an echo by threads on the same "
        "transport. The last line is the ratio, and what a job takes more.",
    ),
    "in_flight": Benchmark(
        "Builds that wait",
        "Builds in flight in one worker, on the loopback OpenStack: seconds "
        "until all wait; the worker's memory in MiB, its threads, its CPU in "
        "per cent of a core and its calls a minute meanwhile; and seconds "
        "that an ASSIGN_IP takes, alone and with the builds.",
        ("1000,5000,10000", "1"),
    ),
    "cloud_calls": Benchmark(
        "Calls of the cloud",
        "What 50 jobs at once cost, on the loopback OpenStack with 50 ms a "
        "call and boots of 5 s.",
    ),
    "calls_curve": Benchmark(
        "Calls and the size of the pool",
        "Calls against the servers there are and the builds in flight, and "
        "the CPU time of a list.",
        ("10,100,1000,3000", "10,100,1000,3000", "1"),
    ),
    "fill_pool": Benchmark(
        "Filling a pool",
        "The time until all devices of a pool are answered, beside the least "
        "that the same cloud allows.",
        ("50,500", "1"),
    ),
    "scale_out": Benchmark(
        "Several workers and job servers",
        "Short jobs a second, and how evenly they are shared.",
    ),
    "startup": Benchmark(
        "Starting",
        "Whole commands, beside a bare cliff application's.",
    ),
    "hostile": Benchmark(
        "Job servers that misbehave",
        "How soon a worker serves again, and the CPU time it spends "
        "meanwhile.",
    ),
}

_SECTION = re.compile(r"^\.\. result: (\w+)\n", re.MULTILINE)


def run(name: str, benchmark: Benchmark) -> str:
    """A section of the page."""
    program = f"{name}.py"
    command = ["python", f"benchmarks/{program}", *benchmark.arguments]
    print(" ".join(command), flush=True)
    started = time.monotonic()
    load = os.getloadavg()[0]
    done = subprocess.run(
        [sys.executable, str(HERE / program), *benchmark.arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    took = time.monotonic() - started
    said = textwrap.indent(done.stdout.rstrip(), "   ")
    tells = textwrap.fill(benchmark.tells, 79, break_on_hyphens=False)
    return (
        f"{benchmark.title}\n{'-' * len(benchmark.title)}\n\n{tells}\n\n"
        f"``{' '.join(command)}``, {took:.0f} s on {machine()}, "
        f"load before {load:.1f}:\n\n"
        f".. code-block:: text\n\n{said}\n"
    )


def machine() -> str:
    """What it was measured on."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text())
    model = found[1].strip() if found else platform.machine()
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (
        f"{day}, {os.cpu_count()} cores of {model}, "
        f"Python {platform.python_version()}"
    )


def sections(page: Path) -> dict[str, str]:
    """What the page has, by the benchmarks' names."""
    if not page.exists():
        return {}
    _head, *parts = _SECTION.split(page.read_text())
    return {
        name: text.strip() + "\n"
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def main() -> None:
    """Run them and write the page."""
    page, names = Path(sys.argv[1]), sys.argv[2:] or list(BENCHMARKS)
    found = sections(page)
    for name in names:
        found[name] = run(name, BENCHMARKS[name])
        ordered = [each for each in BENCHMARKS if each in found]
        page.write_text(
            "Measured\n========\n\n"
            ".. Written by benchmarks/results.py; not to be edited.\n\n"
            "Each table is what one command printed. Machines differ, and "
            "share their cores with\nothers: what counts are the ratios, "
            "of things that took turns in one run.\n\n"
            + "\n".join(
                f".. result: {each}\n\n{found[each]}" for each in ordered
            )
        )


if __name__ == "__main__":
    main()
