"""The text protocol of the built-in job server."""

from collections.abc import Callable, Collection
from typing import Protocol

from poolmgr.gearman.protocol import PacketType
from poolmgr.gearman.served_jobs import Jobs, ServedJob
from poolmgr.text import decoded


class Connected(Protocol):
    """A connection, as the list of workers shows it."""

    functions: list[bytes]
    client_id: str
    number: int
    peer: str


def answer_line(
    line: str, jobs: Jobs, connections: Collection[Connected]
) -> str:
    """What a line is answered."""
    match line.split():
        case ["status"]:
            return _status(jobs, connections)
        case ["prioritystatus"]:
            return _priorities(jobs)
        case ["workers"]:
            return _workers(connections)
        case ["version"]:
            return "OK poolmgr-built-in\n"
        case ["show", "jobs"]:
            return _show(jobs, _job_line)
        case ["show", "unique", "jobs"]:
            return _show(jobs, lambda job: job.unique)
        case ["cancel", "job", handle]:
            return _cancel(jobs.get(handle.encode()))
    return "ERR UNKNOWN_COMMAND Unknown+server+command\r\n"


def _status(jobs: Jobs, connections: Collection[Connected]) -> str:
    counts = jobs.counts()
    able = [f for c in connections for f in c.functions]
    lines = []
    for function in sorted({*counts, *able}):
        total, running = counts.get(function, (0, 0))
        workers = able.count(function)
        lines.append(f"{decoded(function)}\t{total}\t{running}\t{workers}\n")
    return "".join(lines) + ".\n"


def _priorities(jobs: Jobs) -> str:
    lines = [
        f"{decoded(function)}\t{high}\t{normal}\t{low}\t0\n"
        for function, (high, normal, low) in jobs.waiting().items()
    ]
    return "".join(lines) + ".\n"


def _workers(connections: Collection[Connected]) -> str:
    lines = [
        f"{c.number} {c.peer} {c.client_id} : "
        f"{' '.join(map(decoded, c.functions))}\n"
        for c in connections
    ]
    return "".join(lines) + ".\n"


def _show(jobs: Jobs, line: Callable[[ServedJob], bytes]) -> str:
    return "".join(f"{decoded(line(job))}\n" for job in jobs) + ".\n"


def _job_line(job: ServedJob) -> bytes:
    """Handle, retries, whether it is ignored, whether it waits."""
    waits = job.worker is None and not job.cancelled
    return b"%s\t0\t%d\t%d" % (job.handle, job.cancelled, waits)


def _cancel(job: ServedJob | None) -> str:
    if job is None:
        return "ERR UNKNOWN_JOB\r\n"
    for client in job.clients:
        client.send(PacketType.WORK_FAIL, job.handle)
    # As with gearmand, one that runs is still heard to its end.
    job.cancelled = True
    return "OK\r\n"
