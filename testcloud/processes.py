"""Daemons: started in their own sessions, recorded, ended by id."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from testcloud.commands import TestcloudError, tail, wait_until
from testcloud.location import Location

PATIENCE = 10.0


@dataclass(frozen=True)
class Record:
    """The record of a started process.

    :ivar pid: the id of the process, its session and its group
    :ivar started: the kernel's start time, which distinguishes it from a later
        process with the same id
    :ivar digest: digest of its command and configuration
    """

    pid: int
    started: int
    digest: str


class Daemons:
    """The daemons of a cloud."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def names(self) -> list[str]:
        """Return the daemons that were started and not stopped, in order."""
        records = self._location.records.glob("*.json")
        return [path.stem for path in sorted(records, key=_modification_time)]

    def pids(self, name: str) -> list[int]:
        """Return the live processes of a daemon."""
        record = self._record(name)
        return [] if record is None else self._members(record)

    def alive(self, name: str) -> bool:
        """Return whether the started process still runs."""
        record = self._record(name)
        return record is not None and _start_time(record.pid) == record.started

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *files: Path,
        **more: str,
    ) -> None:
        """Start a daemon, unless it runs with the same configuration.

        :param files: files that it reads at its start
        :param more: additional environment variables
        """
        environment = self._location.environment(**more)
        args = [str(arg) for arg in command]
        digest = _digest([*args, *map(str, environment.items())], files)
        record = self._record(name)
        if record and self.alive(name) and record.digest == digest:
            return
        self.stop(name)  # an outdated one, or the rest of a dead one
        log = self.log(name)
        with log.open("ab") as out:
            child = subprocess.Popen(
                args,
                cwd=self._location.data,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._children[name] = child
        started = _start_time(child.pid, zombie=True) or 0
        record = Record(child.pid, started, digest)
        self._path(name).write_text(json.dumps(asdict(record)))

    def stop(self, name: str) -> None:
        """End a daemon and wait until all its processes are gone."""
        record = self._record(name)
        if record is None:
            return
        if self.alive(name):
            _signal(record.pid, signal.SIGTERM)
            _wait(lambda: not self.alive(name))
        # Processes that outlive their parent or ignore the signal.
        for pid in self._members(record):
            _signal(pid, signal.SIGKILL)
        if not _wait(lambda: not self._members(record)):
            raise TestcloudError(f"{name}: its processes do not end")
        if name in self._children:
            self._children.pop(name).wait()
        self._path(name).unlink()

    def wait_for_file(self, name: str, path: Path) -> None:
        """Wait until a daemon has created a file."""
        self.wait(name, path.exists)

    def wait(self, name: str, test: Callable[[], bool]) -> None:
        """Wait until a condition is true; fail when the daemon ends."""

        def ready() -> bool:
            if not self.alive(name):
                raise TestcloudError(f"{name} ended:\n{tail(self.log(name))}")
            return test()

        wait_until(f"{name} ({self.log(name)})", ready)

    def log(self, name: str) -> Path:
        """Return the output of a daemon."""
        return self._location.logs / f"{name}.log"

    def _path(self, name: str) -> Path:
        return self._location.records / f"{name}.json"

    def _record(self, name: str) -> Record | None:
        try:
            return Record(**json.loads(self._path(name).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _members(self, record: Record) -> list[int]:
        """Return the processes of a daemon's group.

        Without its leader, the group's id may have been reused; then only
        processes in the cloud's folder count.
        """
        leader = _start_time(record.pid)
        if leader is None:
            root = self._location.root
            return [p for p in _group(record.pid) if _works_in(p, root)]
        return _group(record.pid) if leader == record.started else []


def _wait(test: Callable[[], bool]) -> bool:
    """Wait for a condition; return whether it became true in time."""
    end = time.monotonic() + PATIENCE
    while not (holds := test()) and time.monotonic() < end:
        time.sleep(0.05)
    return holds


def _digest(words: Iterable[str], files: Iterable[Path]) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _modification_time(path: Path) -> float:
    return path.stat().st_mtime


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on.

    Empty if the process is gone. The name before them may contain spaces and
    parentheses.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _start_time(pid: int, zombie: bool = False) -> int | None:
    fields = _stat(pid)
    if not fields or (fields[0] == "Z" and not zombie):
        return None
    return int(fields[19])


def _group(leader: int) -> list[int]:
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [
        pid
        for pid in pids
        if (fields := _stat(pid))
        and fields[0] != "Z"
        and int(fields[2]) == leader
    ]


def _works_in(pid: int, root: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(root)
    except OSError:
        return False
