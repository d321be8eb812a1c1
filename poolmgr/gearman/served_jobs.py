"""The built-in job server's jobs: which wait, which run, and for whom."""

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from poolmgr.gearman.protocol import PRIORITIES, PacketType, Priority


class Peer(Protocol):
    """A connection to the server, of a worker or a client."""

    def send(self, kind: PacketType, *args: bytes) -> None:
        """Send a packet."""


@dataclass(eq=False)
class ServedJob:
    """A job.

    :ivar clients: who waits for its answer
    :ivar background: whether it stays when nobody waits
    :ivar worker: who runs it, None while it waits
    :ivar progress: numerator and denominator, as the worker last said
    """

    handle: bytes
    function: bytes
    unique: bytes
    payload: bytes
    priority: Priority
    background: bool
    clients: list[Peer] = field(default_factory=list)
    worker: Peer | None = None
    progress: tuple[bytes, bytes] = (b"0", b"0")

    @property
    def name(self) -> tuple[bytes, bytes]:
        """What jobs are one by, as gearmand has it: a unique of "-" stands
        for the payload."""
        unique = self.payload if self.unique == b"-" else self.unique
        return self.function, unique


def status_of(job: ServedJob | None) -> list[bytes]:
    """What a question for a job's status is answered, after its name.

    Known, running, progress, and how many clients wait for it.
    """
    if job is None:
        return [b"0"] * 5
    running = b"1" if job.worker else b"0"
    return [b"1", running, *job.progress, b"%d" % len(job.clients)]


class Jobs:
    """All jobs of a server.

    :param prefix: what their handles start with
    :ivar by_handle: all of them
    :ivar waiting: those that no worker has, in the order of the queue
    """

    def __init__(self, prefix: bytes) -> None:
        self.by_handle: dict[bytes, ServedJob] = {}
        self.waiting: dict[ServedJob, None] = {}
        self._prefix = prefix
        self._numbers = itertools.count(1)

    def __iter__(self) -> Iterator[ServedJob]:
        return iter(list(self.by_handle.values()))

    def named(self, unique: bytes) -> ServedJob | None:
        """A job of a unique, of whatever function."""
        return next((job for job in self if job.unique == unique), None)

    def submit(
        self,
        function: bytes,
        unique: bytes,
        payload: bytes,
        priority: Priority,
        client: Peer | None,
    ) -> ServedJob:
        """Queue a job, or find the one of the same unique.

        :param client: who waits for the answer; None for a background job
        """
        handle = b"%s:%d" % (self._prefix, next(self._numbers))
        job = ServedJob(
            handle, function, unique, payload, priority, client is None
        )
        same = [each for each in self if unique and each.name == job.name]
        if same:
            job = same[0]
        else:
            self.by_handle[handle] = job
            self.waiting[job] = None
        if client is not None:
            job.clients.append(client)
        return job

    def next(self, functions: Collection[bytes]) -> ServedJob | None:
        """The next job for a worker of these functions."""
        able = [job for job in self.waiting if job.function in functions]
        return min(
            able, key=lambda job: PRIORITIES.index(job.priority), default=None
        )

    def assign(self, job: ServedJob, worker: Peer) -> None:
        """Give a job that waits to a worker."""
        del self.waiting[job]
        job.worker = worker

    def end(self, job: ServedJob) -> None:
        """Forget a job."""
        self.by_handle.pop(job.handle, None)
        self.waiting.pop(job, None)

    def forget(self, peer: Peer) -> None:
        """Somebody has gone.

        A worker's jobs go back to the end of the queue; with its last client
        a job that waits goes, too.
        """
        # gearmand takes them back last first.
        for job in reversed(list(self)):
            job.clients = [c for c in job.clients if c is not peer]
            if job.worker is peer:
                job.worker = None
                self.waiting[job] = None
            if job.worker is None and not (job.clients or job.background):
                self.end(job)

    # -- lines of the admin protocol ----------------------------------------

    def show_jobs(self) -> list[bytes]:
        """Handle, retries, whether it is ignored, whether it waits."""
        return [
            b"%s\t0\t0\t%d" % (job.handle, job in self.waiting) for job in self
        ]

    def status(self, able: Sequence[bytes]) -> list[bytes]:
        """Function, jobs, running jobs, workers.

        :param able: the functions of all workers
        """
        total = Counter(job.function for job in self)
        waiting = Counter(job.function for job in self.waiting)
        return [
            b"%s\t%d\t%d\t%d"
            % (f, total[f], total[f] - waiting[f], able.count(f))
            for f in sorted({*total, *able})
        ]

    def priority_status(self) -> list[bytes]:
        """Function, waiting jobs of high, normal and low priority, workers
        (unknown)."""
        waiting = Counter((job.function, job.priority) for job in self.waiting)
        lines = []
        for function in sorted({job.function for job in self.waiting}):
            high, normal, low = (waiting[function, p] for p in PRIORITIES)
            row = function, high, normal, low
            lines.append(b"%s\t%d\t%d\t%d\t0" % row)
        return lines
