"""Read a worker's executions, registrations and warnings from its log."""

from collections import Counter

from poolmgr.gearman.endpoint import Address
from tests.processes import Process

#: Seconds within which a worker with default settings notices a silent server.
NOTICE_TIME = 30.0


def executions(process: Process) -> Counter[str]:
    """Return how often a worker has finished each unique."""
    return Counter(
        _word(line, "unique=")
        for line in list(process.lines)
        if " outcome=" in line
    )


def passed(process: Process) -> set[str]:
    """Return the uniques of the jobs that passed."""
    return {
        _word(line, "unique=")
        for line in list(process.lines)
        if " outcome=PASS" in line
    }


def registrations(process: Process) -> int:
    """Return how often a worker has registered with any server."""
    return sum("registered" in line for line in list(process.lines))


def refusals(process: Process) -> int:
    """Return the number of answers that job servers have refused."""
    words = "its answer was refused"
    return sum(words in line for line in list(process.lines))


def complaints(process: Process, server: Address | str) -> list[str]:
    """Return a worker's warnings about a job server."""
    words = f"Job server {server}: "
    return [
        line.partition(words)[2].rstrip("\n")
        for line in list(process.lines)
        if words in line and " WARNING " in line
    ]


def _word(line: str, name: str) -> str:
    return line.partition(name)[2].split(" ")[0]
