"""What a worker did, by its log."""

from collections import Counter

from poolmgr.gearman import Address
from tests.processes import Process

#: Seconds in which a silent server is noticed with the default settings.
NOTICED = 30.0


def executions(process: Process) -> Counter[str]:
    """How often a worker has run each unique to an end."""
    return Counter(
        _word(line, "unique=")
        for line in list(process.lines)
        if " outcome=" in line
    )


def passed(process: Process) -> set[str]:
    """The uniques of the jobs that a worker has run to a PASS."""
    return {
        _word(line, "unique=")
        for line in list(process.lines)
        if " outcome=PASS" in line
    }


def registrations(process: Process) -> int:
    """How often a worker has registered at any server."""
    return sum("registered" in line for line in list(process.lines))


def complaints(process: Process, server: Address | str) -> list[str]:
    """What a worker has had to say against a job server."""
    words = f"Job server {server}: "
    return [
        line.partition(words)[2].rstrip("\n")
        for line in list(process.lines)
        if words in line and " WARNING " in line
    ]


def _word(line: str, name: str) -> str:
    return line.partition(name)[2].split(" ")[0]
