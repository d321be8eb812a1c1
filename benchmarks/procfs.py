"""What the kernel knows of a process."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
#: Bytes of a MiB.
MIB = 1024 * 1024


def cpu(pid: int) -> float:
    """Seconds of a core that a process has had."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    return _rollup(pid, "Rss")


def pss(pid: int) -> float:
    """The same, with what it shares with others by its share; in MiB."""
    return _rollup(pid, "Pss")


def threads(pid: int) -> int:
    """How many threads a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def _rollup(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / MIB
    raise LookupError(name)
